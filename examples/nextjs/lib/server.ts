import { connection } from "next/server";


/** Where WeeziQ is, asked at each request: one build serves any server. */
export async function serverUrl(): Promise<string> {
  await connection();
  return process.env.WEEZIQ_URL ?? "http://localhost:8787";
}
