//! How many tokens a text has, about: for bounds, and where a provider does not say.
//!
//! Tokenisers know some 200,000 pieces of text by heart, which is a megabyte. Without them: a word of Latin letters is a piece
//! for each six of them, other scripts have so many pieces a letter, digits go by three and signs by runs. Held against
//! the counts of two public vocabularies (`cl100k`, `o200k`) it lies between two thirds of the lower and twice the
//! higher, for each of the texts below; the two differ by up to three times themselves.

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Latin,
    Digit,
    Sign,
    Space,
    Line,
    /// Of a script or a sort whose letters are so many hundredths of a token each.
    Letter(u32),
}

/// About how many tokens a model takes the text for.
pub fn estimate(text: &str) -> usize {
    let (mut hundredths, mut run, mut kind, mut was_small) = (0, 0, Kind::Space, false);
    for c in text.chars() {
        let next = kind_of(c);
        let is_hump = was_small && c.is_ascii_uppercase();
        was_small = c.is_ascii_lowercase();
        if next != kind || is_hump {
            hundredths += cost(kind, run);
            (kind, run) = (next, 0);
        }
        run += 1;
        if next == Kind::Latin && !c.is_ascii() {
            hundredths += 50; // words with them are rarely known as a whole
        }
    }
    (hundredths + cost(kind, run)).div_ceil(100)
}

/// Of a run, in hundredths of a token.
fn cost(kind: Kind, run: usize) -> usize {
    match kind {
        Kind::Latin => run.div_ceil(6) * 100,
        Kind::Digit | Kind::Sign => run.div_ceil(3) * 100,
        // The space before a word is the word's.
        Kind::Space => {
            if run > 1 {
                run.div_ceil(16) * 100
            } else {
                0
            }
        }
        Kind::Line => run.div_ceil(4) * 100,
        Kind::Letter(each) => run * each as usize,
    }
}

fn kind_of(c: char) -> Kind {
    match c {
        ' ' | '\t' => Kind::Space,
        '\n' | '\r' => Kind::Line,
        '0'..='9' => Kind::Digit,
        'a'..='z' | 'A'..='Z' | '\u{c0}'..='\u{24f}' | '\u{1e00}'..='\u{1eff}' => Kind::Latin,
        '\0'..='\u{bf}' | '\u{2000}'..='\u{206f}' => Kind::Sign,
        '\u{370}'..='\u{8ff}' => Kind::Letter(45),
        '\u{900}'..='\u{1fff}' => Kind::Letter(60),
        '\u{3000}'..='\u{30ff}' | '\u{ac00}'..='\u{d7ff}' | '\u{ff00}'..='\u{ffef}' => Kind::Letter(75),
        '\u{3100}'..='\u{a4ff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}' => Kind::Letter(85),
        _ => Kind::Letter(200),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With how many tokens `cl100k_base` and `o200k_base` say that each has.
    const COUNTED: &[(&str, usize, usize)] = &[
        ("Hello, how are you?", 6, 6),
        (
            "Hello, my order has not arrived yet. Could you have a look at it, please? The number is 4711-0815.",
            29,
            29,
        ),
        (
            "The quick brown fox jumps over the lazy dog. It was a bright cold day in April, and the clocks were striking thirteen, while everybody in the neighbourhood wondered whether the unusual announcement had anything to do with the committee's recommendations.",
            46,
            46,
        ),
        (
            "Internationalization, interoperability and misunderstandings characterise telecommunications infrastructure responsibilities.",
            14,
            13,
        ),
        (
            "Guten Tag, meine Bestellung ist leider noch nicht angekommen. Könnten Sie bitte nachsehen, wann die Lieferung erfolgt? Die Rechnungsnummer lautet 20231145.",
            42,
            34,
        ),
        (
            "Bonjour, je n'ai toujours pas reçu ma commande. Pourriez-vous vérifier l'état de la livraison, s'il vous plaît ?",
            32,
            26,
        ),
        (
            "Buenos días, mi pedido todavía no ha llegado. ¿Podría comprobar cuándo se entregará el paquete?",
            32,
            21,
        ),
        (
            "Dzień dobry, moje zamówienie jeszcze nie dotarło. Czy mogą Państwo sprawdzić, kiedy zostanie dostarczone?",
            36,
            32,
        ),
        (
            "Merhaba, siparişim henüz ulaşmadı. Lütfen teslimatın ne zaman yapılacağını kontrol edebilir misiniz?",
            39,
            27,
        ),
        ("Здравствуйте, мой заказ ещё не пришёл. Не могли бы вы проверить, когда его доставят?", 37, 20),
        ("Καλημέρα, η παραγγελία μου δεν έχει φτάσει ακόμα. Μπορείτε να ελέγξετε πότε θα παραδοθεί;", 81, 35),
        ("مرحبا، لم يصل طلبي بعد. هل يمكنكم التحقق من موعد التسليم؟", 44, 19),
        ("שלום, ההזמנה שלי עדיין לא הגיעה. האם תוכלו לבדוק מתי היא תגיע?", 58, 21),
        ("नमस्ते, मेरा ऑर्डर अभी तक नहीं आया है। क्या आप बता सकते हैं कि यह कब आएगा?", 75, 26),
        ("您好，我的订单还没有到。请问您能帮我查一下什么时候送达吗？", 30, 21),
        ("こんにちは、注文した商品がまだ届いていません。いつ届くか確認していただけますか？", 35, 23),
        ("안녕하세요, 주문한 상품이 아직 도착하지 않았습니다. 언제 도착하는지 확인해 주시겠어요?", 45, 26),
        ("สวัสดีค่ะ สินค้าที่สั่งยังไม่มาถึง ช่วยตรวจสอบให้หน่อยได้ไหมคะ", 59, 27),
        ("Thanks 🎉🎉🎉 you are the best 👍🏽👩‍💻 ❤️", 28, 20),
        ("3.14159265358979, 2023-11-14T22:13:20.000Z, +49 170 1234567, 1,000,000", 40, 40),
        (
            "https://shop.example.com/products/winter-hats?utm_source=newsletter&utm_campaign=black-friday-2025#reviews",
            27,
            27,
        ),
        (
            "fn main() {\n    let total: u64 = items.iter().map(|item| item.price * item.count).sum();\n    println!(\"{total}\");\n}\n",
            32,
            32,
        ),
        (
            "{\"name\":\"helpdesk\",\"title\":\"Returns\",\"text\":\"You may return a hat within 30 days.\"}",
            23,
            23,
        ),
        (
            "# Returns\n\n- within **30 days**\n- unworn, with the [label](https://shop.example/label)\n\n| size | price |\n|---|---|\n| M | 20 € |\n",
            42,
            42,
        ),
        ("WHERE IS MY PARCEL??? I ORDERED IT TWO WEEKS AGO!!!!!!!!", 16, 16),
        ("dGhpcyBpcyBub3QgYSBzZWNyZXQgYnV0IGxvb2tzIGxpa2Ugb25l9f86d081884c7d659a2feaa0c55ad015", 58, 52),
    ];

    #[test]
    fn estimates_lie_near_what_vocabularies_count() {
        let is_near = |(text, cl100k, o200k): &&(&str, usize, usize)| {
            let estimate = estimate(text);
            estimate * 3 >= cl100k.min(o200k) * 2 && estimate <= cl100k.max(o200k) * 2
        };
        let off = COUNTED.iter().filter(|row| !is_near(row));
        let off: Vec<_> = off.map(|(text, ..)| (estimate(text), text)).collect();
        assert!(off.is_empty(), "{off:?}");
        let sum = |count: fn(&(&str, usize, usize)) -> usize| COUNTED.iter().map(count).sum::<usize>();
        let (all, counted) = (sum(|row| estimate(row.0)), sum(|row| row.1));
        assert!((counted * 3 / 4..=counted * 5 / 4).contains(&all), "{all} for {counted}");
    }

    #[test]
    fn long_runs_are_not_free() {
        assert_eq!(estimate(""), 0);
        assert!((25..=50).contains(&estimate(&"a".repeat(200))));
        assert!(estimate(&"\u{1f389}".repeat(100)) >= 100);
        assert!(estimate(&" ".repeat(10_000)) >= 100 && estimate(&"=".repeat(300)) >= 50);
    }
}
