//! The cookie that keeps a browser signed in: for our sign-in routes alone, out of scripts' reach.

use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};

use crate::auth::refresh::RefreshClaim;
use crate::auth::token::Tokens;
use crate::config::Origin;

/// Cookies of one request that are looked at; ours is one, others of this host share the field.
const COOKIES_MAX: usize = 64;

/// The name: browsers take `__Secure-` from https alone, and cookies know no ports, so that two
/// servers on one host name need two names.
fn name(tokens: &Tokens, origin: &Origin) -> String {
    let prefix = if origin.is_https { "__Secure-" } else { "" };
    format!("{prefix}sandbox_refresh_{}", tokens.short_id())
}

fn field(name: &str, value: &str, age: i64, is_https: bool) -> HeaderValue {
    let secure = if is_https { "; Secure" } else { "" };
    let text =
        format!("{name}={value}; Path=/api/auth; Max-Age={age}; HttpOnly; SameSite=Strict{secure}");
    let mut field = HeaderValue::from_str(&text).expect("letters, digits and signs of ASCII alone");
    field.set_sensitive(true);
    field
}

/// The field that sets the cookie for `age` seconds.
pub(super) fn set(tokens: &Tokens, origin: &Origin, claim: RefreshClaim, age: i64) -> HeaderValue {
    let token = tokens.refresh().issue(claim);
    field(&name(tokens, origin), &token, age, origin.is_https)
}

/// The field that takes the cookie away.
pub(super) fn clear(tokens: &Tokens, origin: &Origin) -> HeaderValue {
    field(&name(tokens, origin), "", 0, origin.is_https)
}

/// What the request's cookie says, where there is one of ours.
pub(super) fn read(tokens: &Tokens, origin: &Origin, headers: &HeaderMap) -> Option<RefreshClaim> {
    let name = name(tokens, origin);
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|it| it.to_str().ok())
        .flat_map(|it| it.split(';'))
        .take(COOKIES_MAX)
        .filter_map(|it| it.trim().split_once('='))
        .filter(|(it, _)| *it == name)
        .find_map(|(_, value)| tokens.refresh().read(value))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::state::sign_ins::FamilyId;

    const CLAIM: RefreshClaim = RefreshClaim {
        family: FamilyId([7; 16]),
        generation: 1,
    };

    fn tokens() -> Tokens {
        Tokens::with_secret(&[1; 32], Duration::from_secs(60))
    }

    fn headers(cookies: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for it in cookies {
            headers.append(COOKIE, HeaderValue::from_str(it).unwrap());
        }
        headers
    }

    #[test]
    fn a_cookie_that_was_set_is_read_among_others_and_by_its_own_scheme_alone() {
        let tokens = tokens();
        let [http, https] = ["http://a", "https://a"].map(|it| Origin::parse(it).unwrap());
        let set = set(&tokens, &https, CLAIM, 9);
        let set = set.to_str().unwrap();
        let (pair, attributes) = set.split_once("; ").unwrap();
        assert!(pair.starts_with("__Secure-sandbox_refresh_"), "{set}");
        let expected = "Path=/api/auth; Max-Age=9; HttpOnly; SameSite=Strict; Secure";
        assert_eq!(attributes, expected);
        let sent = headers(&["x=1; y", &format!("z=2;{pair}")]);
        assert_eq!(read(&tokens, &https, &sent), Some(CLAIM));
        assert_eq!(read(&tokens, &http, &sent), None);
        let others = Tokens::with_secret(&[2; 32], Duration::from_secs(60));
        assert_eq!(read(&others, &https, &sent), None);
    }

    #[test]
    fn plain_http_has_a_cookie_without_secure() {
        let http = Origin::parse("http://localhost:8080").unwrap();
        let set = set(&tokens(), &http, CLAIM, 9);
        let set = set.to_str().unwrap();
        assert!(set.starts_with("sandbox_refresh_") && !set.contains("Secure"));
    }

    #[test]
    fn a_broken_cookie_hides_no_good_one() {
        let (tokens, origin) = (tokens(), Origin::parse("http://a").unwrap());
        let name = name(&tokens, &origin);
        let good = tokens.refresh().issue(CLAIM);
        let sent = headers(&[&format!("{name}=; {name}=nonsense; {name}={good}")]);
        assert_eq!(read(&tokens, &origin, &sent), Some(CLAIM));
        assert_eq!(read(&tokens, &origin, &headers(&[&name, "=", ""])), None);
    }
}
