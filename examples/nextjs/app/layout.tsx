import type { Metadata } from "next";
import Link from "next/link";
import type { ReactNode } from "react";
import "./globals.css";

export const metadata: Metadata = { title: "Corner Bakery", description: "A support chat on WeeziQ" };

export default function Layout({ children }: { children: ReactNode }) {
  return (
    <html lang="en">
      <body>
        <header className="bar">
          <Link href="/" className="brand">Corner Bakery</Link>
          <nav aria-label="Pages">
            <Link href="/">Support</Link>
            <Link href="/assistant">Assistant</Link>
            <Link href="/agent">Agent desk</Link>
          </nav>
        </header>
        {children}
      </body>
    </html>
  );
}
