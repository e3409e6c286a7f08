import { AgentDesk } from "../../components/AgentDesk";
import { serverUrl } from "../../lib/server";

export default async function Page() {
  return (
    <main className="wide">
      <h1 className="unseen">Agent desk</h1>
      <AgentDesk server={await serverUrl()} />
    </main>
  );
}
