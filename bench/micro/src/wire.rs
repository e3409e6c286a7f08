//! What clients send, as it comes from the network.

/// A masked text frame. The mask is any number: which one makes no difference to what it takes to undo it.
pub fn masked(json: &str, mask: u32) -> Vec<u8> {
    let mut frame = vec![FIN_TEXT];
    match json.len() {
        len @ 0..=125 => frame.push(MASKED | len as u8),
        len => {
            frame.push(MASKED | 126);
            frame.extend_from_slice(&(len as u16).to_be_bytes());
        }
    }
    let mask = mask.to_be_bytes();
    frame.extend_from_slice(&mask);
    frame.extend(json.bytes().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

pub fn send_message(number: u64) -> String {
    format!(
        r#"{{"type":"send-message","id":"{number}","roomId":"conversation-4711","userId":"visitor-4711","userName":"Grace Hopper","role":"customer","clientMessageId":"c0ffee00-0000-4000-8000-{number:012}","message":"Hello, my order has not arrived yet. Could you have a look at it, please?"}}"#
    )
}

pub fn join_room(room: &str, user: u64) -> String {
    format!(
        r#"{{"type":"join-room","id":"j","roomId":"{room}","userId":"visitor-{user}","userName":"Grace Hopper","role":"customer"}}"#
    )
}

pub const PING: &str = r#"{"type":"ping"}"#;
pub const TYPING: &str = r#"{"type":"typing-start","roomId":"conversation-4711","userId":"visitor-4711","userName":"Grace Hopper"}"#;
pub const AI_CHAT: &str = r#"{"type":"ai-chat","id":"q","domainId":"shop.example","userId":"visitor-4711","message":"When do you deliver to Hamburg, and what does it cost?"}"#;
pub const AI_STREAM: &str = r#"{"type":"ai-stream","id":"q","conversationId":"conversation-4711","userId":"visitor-4711","model":"MODEL","message":"When do you deliver to Hamburg, and what does it cost?"}"#;

const FIN_TEXT: u8 = 0x81;
const MASKED: u8 = 0x80;
