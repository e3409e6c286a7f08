#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may stop where it stands")]

use ed25519_dalek::{Signer, SigningKey};
use serde_json::{Value, json};

use super::*;

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const NOW: UnixMs = UnixMs(1_800_000_000_000);
/// Of the RFC's own example key (RFC 8037, appendix A).
const ED_SECRET: &str = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A";
const ED_PUBLIC: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

fn encode(value: &Value) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(value.to_string())
}

fn key() -> Key {
    Key::shared(SECRET).unwrap()
}

fn signed_by(secret: &str, header: &Value, claims: &Value) -> String {
    let signed = format!("{}.{}", encode(header), encode(claims));
    let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    let signature = mac.chain_update(signed.as_bytes()).finalize().into_bytes();
    format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
}

fn claims() -> Value {
    json!({ "sub": "ann", "name": "Ann", "role": "agent", "domains": ["shop.example"], "exp": NOW.0 / 1_000 + 60 })
}

fn with(change: Value) -> Value {
    let mut all = claims();
    let Value::Object(change) = change else { panic!("{change} is no object") };
    all.as_object_mut().unwrap().extend(change);
    all
}

fn token(change: Value) -> String {
    signed_by(SECRET, &json!({ "alg": "HS256" }), &with(change))
}

fn why(token: &str) -> String {
    let error = key().verify(token, NOW).unwrap_err();
    assert_eq!(error.code, ErrorCode::Unauthorized);
    error.message.into_owned()
}

fn ed25519_pem() -> String {
    let der = [&ED25519_DER[..], &BASE64_URL_SAFE_NO_PAD.decode(ED_PUBLIC).unwrap()].concat();
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", BASE64_STANDARD.encode(der))
}

#[test]
fn a_token_says_who_its_bearer_is() {
    let known = key().verify(&token(json!({ "rooms": ["r1"] })), NOW).unwrap();
    assert_eq!((known.subject.as_str(), &*known.name, known.role), ("ann", "Ann", Role::Agent));
    assert!(known.domains == Domains::Only([DomainId::parse("shop.example").unwrap()].into()));
    assert!(known.rooms.as_deref() == Some(&[RoomId::known("r1")][..]));
    assert_eq!(known.expires_at, NOW.plus(60_000));
    assert_eq!(&*key().verify(&token(json!({ "name": null })), NOW).unwrap().name, "ann");
    assert!(key().verify(&token(json!({ "domains": "*" })), NOW).unwrap().domains == Domains::All);
}

#[test]
fn what_is_minted_holds() {
    let claims = Claims { expires_at: NOW.plus(60_000), ..key().verify(&token(json!({})), NOW).unwrap() };
    assert_eq!(key().verify(&key().mint(&claims).unwrap(), NOW).unwrap(), claims);
    let all = Claims { domains: Domains::All, ..claims };
    assert_eq!(key().verify(&key().mint(&all).unwrap(), NOW).unwrap(), all);
    assert!(Key::public(&ed25519_pem()).unwrap().mint(&all).is_none());
}

#[test]
fn the_header_does_not_choose_how_a_token_is_checked() {
    let unsigned = format!("{}.{}.", encode(&json!({ "alg": "none" })), encode(&claims()));
    assert!(why(&unsigned).contains("HS256"));
    for alg in ["none", "None", "HS384", "RS256", "EdDSA", "hs256", ""] {
        assert!(why(&signed_by(SECRET, &json!({ "alg": alg }), &claims())).contains("HS256"), "{alg}");
    }
    // The old trick: the public key, which everybody knows, used as if it were the secret.
    let public = Key::public(&ed25519_pem()).unwrap();
    let forged = signed_by(&ed25519_pem(), &json!({ "alg": "HS256" }), &claims());
    assert!(public.verify(&forged, NOW).unwrap_err().message.contains("EdDSA"));
    let crit = json!({ "alg": "HS256", "crit": ["b64"], "b64": false });
    assert!(why(&signed_by(SECRET, &crit, &claims())).contains("crit"));
}

#[test]
fn another_key_or_another_word_does_not_hold() {
    let other = "ffffffffffffffffffffffffffffffff";
    assert!(why(&signed_by(other, &json!({ "alg": "HS256" }), &claims())).contains("key"));
    let good = token(json!({}));
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let (header, _) = signed.split_once('.').unwrap();
    let raised = format!("{header}.{}.{signature}", encode(&with(json!({ "role": "admin" }))));
    assert!(why(&raised).contains("key"));
    assert!(why(&format!("{signed}.{}", &signature[..signature.len() - 3])).contains("key"));
    assert!(why(&format!("{signed}.")).contains("key"));
}

#[test]
fn time_decides() {
    assert!(why(&token(json!({ "exp": NOW.0 / 1_000 }))).contains("expired"));
    assert!(why(&token(json!({ "exp": null }))).contains("exp"));
    assert!(why(&token(json!({ "exp": "tomorrow" }))).contains("cannot be read"));
    assert!(why(&token(json!({ "nbf": NOW.0 / 1_000 + 60 }))).contains("yet"));
    assert!(key().verify(&token(json!({ "nbf": NOW.0 / 1_000 + 1, "exp": 1e300 })), NOW).is_ok());
}

#[test]
fn what_is_malformed_is_named() {
    for (bad, word) in [
        ("", "three parts"),
        ("a.b", "three parts"),
        ("a.b.c.d", "three parts"),
        ("ä.b.c", "base64url"),
        ("e30.e30.e30", "alg"),
        ("e30=.e30.e30", "base64url"),
    ] {
        assert!(why(bad).contains(word), "{bad}: {}", why(bad));
    }
    assert!(why(&"x".repeat(TOKEN_BYTES_MAX + 1)).contains("bytes"));
    for (change, word) in [
        (json!({ "sub": "" }), "sub"),
        (json!({ "sub": "a\nb" }), "sub"),
        (json!({ "role": "root" }), "cannot be read"),
        (json!({ "role": null }), "role"),
        (json!({ "name": "x".repeat(300) }), "name"),
        (json!({ "domains": null }), "domains"),
        (json!({ "domains": [""] }), "domains"),
        (json!({ "rooms": [7] }), "cannot be read"),
        (json!({ "rooms": vec!["r"; TOKEN_SCOPES_MAX + 1] }), "rooms"),
    ] {
        let said = why(&token(change.clone()));
        assert!(said.contains(word), "{change}: {said}");
    }
}

#[test]
fn eddsa_by_a_public_key_alone() {
    let secret: [u8; 32] = BASE64_URL_SAFE_NO_PAD.decode(ED_SECRET).unwrap().try_into().unwrap();
    let pair = SigningKey::from_bytes(&secret);
    let sign = |pair: &SigningKey, alg: &str| {
        let signed = format!("{}.{}", encode(&json!({ "alg": alg })), encode(&claims()));
        let signature = BASE64_URL_SAFE_NO_PAD.encode(pair.sign(signed.as_bytes()).to_bytes());
        format!("{signed}.{signature}")
    };
    let public = Key::public(&ed25519_pem()).unwrap();
    assert_eq!(public.verify(&sign(&pair, "EdDSA"), NOW).unwrap().subject.as_str(), "ann");
    let in_words = Key::public(&ed25519_pem().replace('\n', "\\n")).unwrap();
    assert!(in_words.verify(&sign(&pair, "EdDSA"), NOW).is_ok());
    let other = SigningKey::from_bytes(&[7; 32]);
    assert!(public.verify(&sign(&other, "EdDSA"), NOW).unwrap_err().message.contains("key"));
    assert!(public.verify(&sign(&pair, "HS256"), NOW).unwrap_err().message.contains("EdDSA"));
    assert!(public.verify(&token(json!({})), NOW).unwrap_err().message.contains("EdDSA"));
}

#[test]
fn keys_that_are_none_are_refused_with_the_way_to_make_one() {
    assert!(Key::shared("short").unwrap_err().contains("openssl rand"));
    assert!(Key::public("").unwrap_err().contains("openssl genpkey"));
    assert!(Key::public("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----").is_err());
    let private = Key::public("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----").unwrap_err();
    assert!(private.contains("private"));
}

#[test]
fn a_key_shows_itself_to_nobody() {
    assert_eq!(format!("{:?}", key()), "HS256");
}

proptest::proptest! {
    #[test]
    fn nothing_that_is_no_token_passes(text in ".{0,200}") {
        assert!(key().verify(&text, NOW).is_err());
    }
}
