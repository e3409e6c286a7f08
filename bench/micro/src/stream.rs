//! Answers of providers as their services send them: one event a token, with all the fields that nobody reads.

/// A token of OpenAI's Chat Completions.
pub fn openai_token(text: &str) -> String {
    format!(
        "data: {{\"id\":\"chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT\",\"object\":\"chat.completion.chunk\",\"created\":1741569952,\"model\":\"gpt-4o-mini-2024-07-18\",\"service_tier\":\"default\",\"system_fingerprint\":\"fp_44add55e1d\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}},\"logprobs\":null,\"finish_reason\":null}}],\"usage\":null}}\n\n"
    )
}

/// What Gemini sends at a time; of today's models it is longer than a token.
pub fn gemini_token(text: &str) -> String {
    format!(
        "data: {{\"candidates\": [{{\"content\": {{\"parts\": [{{\"text\": \"{text}\"}}],\"role\": \"model\"}},\"index\": 0}}],\"usageMetadata\": {{\"promptTokenCount\": 21,\"totalTokenCount\": 64,\"promptTokensDetails\": [{{\"modality\": \"TEXT\",\"tokenCount\": 21}}],\"thoughtsTokenCount\": 43}},\"modelVersion\": \"gemini-2.5-flash\",\"responseId\": \"mAitaLmkHPPlz7IPvtfUqQ4\"}}\r\n\r\n"
    )
}

/// An answer of so many tokens, its end included.
pub fn openai(tokens: usize) -> String {
    let end = concat!(
        r#"data: {"id":"chatcmpl-B9","object":"chat.completion.chunk","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
        "\n\n",
        r#"data: {"id":"chatcmpl-B9","object":"chat.completion.chunk","choices":[],"usage":{"prompt_tokens":21,"completion_tokens":64,"total_tokens":85}}"#,
        "\n\ndata: [DONE]\n\n"
    );
    words(tokens).map(openai_token).chain([end.to_owned()]).collect()
}

pub fn gemini(tokens: usize) -> String {
    let end = concat!(
        r#"data: {"candidates": [{"content": {"parts": [{"text": ""}],"role": "model"},"finishReason": "STOP","index": 0}],"usageMetadata": {"promptTokenCount": 21,"candidatesTokenCount": 64,"totalTokenCount": 128}}"#,
        "\r\n\r\n"
    );
    words(tokens).map(gemini_token).chain([end.to_owned()]).collect()
}

/// Some need an escape, some more than a byte a letter.
fn words(count: usize) -> impl Iterator<Item = &'static str> {
    let words =
        ["We", " deliver", " to", " Hamburg", " within", " two", " days", ",\\n", " für", " 4.90", " €", "."];
    words.into_iter().cycle().take(count)
}

/// `body` as a network may cut it: never where a line ends, and within a letter now and then.
pub fn odd_pieces(body: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = body;
    [7, 61, 3, 127, 29, 1, 211].into_iter().cycle().map_while(move |len| {
        let (piece, after) = rest.split_at(rest.len().min(len));
        rest = after;
        (!piece.is_empty()).then_some(piece)
    })
}
