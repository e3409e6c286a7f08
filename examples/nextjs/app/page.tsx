import { SupportChat } from "../components/SupportChat";
import { serverUrl } from "../lib/server";

export default async function Page() {
  return (
    <main className="narrow">
      <h1>How can we help?</h1>
      <p className="lead">Our assistant answers at once. Whoever works here sees the conversation and can step in.</p>
      <SupportChat server={await serverUrl()} />
    </main>
  );
}
