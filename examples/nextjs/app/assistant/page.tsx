import { Assistant } from "../../components/Assistant";
import { serverUrl } from "../../lib/server";

export default async function Page() {
  return (
    <main className="narrow">
      <h1>Ask the assistant</h1>
      <p className="lead">
        The AI SDK&rsquo;s <code>useChat</code>, straight to <code>POST /ai/stream</code>. Nobody else sees this conversation.
      </p>
      <Assistant server={await serverUrl()} />
    </main>
  );
}
