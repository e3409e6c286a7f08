import type { ReactNode } from "react";

type Props = { from: "me" | "them" | "ai"; name: string; isUnsent?: boolean; children: ReactNode };

/** One thing that was said. */
export function Bubble({ from, name, isUnsent = false, children }: Props) {
  return (
    <li className={`bubble ${from}${isUnsent ? " unsent" : ""}`}>
      <span className="name">{name}</span>
      <p>{children}</p>
    </li>
  );
}
