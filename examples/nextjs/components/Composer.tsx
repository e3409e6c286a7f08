"use client";
import { useState, type FormEvent, type ReactNode } from "react";

type Props = { label: string; onSend: (text: string) => void; onTyping?: () => void; children?: ReactNode };

/** Where one writes; `children` stand beside the button. */
export function Composer({ label, onSend, onTyping, children }: Props) {
  const [text, setText] = useState("");
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (text.trim() === "") return;
    onSend(text);
    setText("");
  };
  return (
    <form className="composer" onSubmit={submit}>
      <input
        aria-label={label}
        placeholder={label}
        value={text}
        autoComplete="off"
        maxLength={4_000}
        onChange={({ target }) => {
          setText(target.value);
          onTyping?.();
        }}
      />
      {children}
      <button type="submit" className="primary">Send</button>
    </form>
  );
}
