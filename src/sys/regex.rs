//! POSIX extended regular expressions (regex(7)), as the C library has them.

use std::ffi::CString;
use std::mem::MaybeUninit;

use crate::error::{Error, Result};

/// A compiled expression.
pub struct Regex(Box<libc::regex_t>);

impl Regex {
    /// Compiles it.
    ///
    /// # Errors
    /// Where it is none; says what is wrong with it.
    pub fn new(pattern: &str) -> Result<Self> {
        let text = CString::new(pattern).map_err(|_| Error::new(format!("pattern {pattern:?} holds a null byte")))?;
        let mut compiled = Box::new(MaybeUninit::<libc::regex_t>::uninit());
        // SAFETY: regcomp initialises the structure it is given when it returns 0, and only then is it used. It lives in
        // a box, so its address never changes.
        let code = unsafe { libc::regcomp(compiled.as_mut_ptr(), text.as_ptr(), libc::REG_EXTENDED | libc::REG_NOSUB) };
        if code != 0 {
            return Err(Error::new(format!("pattern {pattern:?}: {}", why(code))));
        }
        // SAFETY: the call above has initialised it.
        Ok(Self(unsafe { compiled.assume_init() }))
    }

    /// Whether it matches anywhere in `text`.
    pub fn matches(&self, text: &str) -> bool {
        // SAFETY: the expression is compiled, the text ends with a null byte, and no matches are asked for.
        CString::new(text).is_ok_and(|text| unsafe {
            libc::regexec(&raw const *self.0, text.as_ptr(), 0, std::ptr::null_mut(), 0) == 0
        })
    }
}

impl Drop for Regex {
    fn drop(&mut self) {
        // SAFETY: it was compiled by regcomp and is freed once.
        unsafe { libc::regfree(&raw mut *self.0) };
    }
}

/// What a number from regcomp(3) means.
fn why(code: libc::c_int) -> String {
    let mut text = [0_u8; 128];
    // SAFETY: the buffer has the size that is given; without a compiled expression the number alone is explained.
    unsafe { libc::regerror(code, std::ptr::null(), text.as_mut_ptr().cast(), text.len()) };
    let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(text).to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_as_extended_expressions_do() {
        let test = Regex::new("^test-[0-9]+(a|b)?$").unwrap();
        assert!(test.matches("test-12b") && test.matches("test-1"));
        assert!(!test.matches("test-") && !test.matches("my-test-1") && !test.matches("test-1\0"));
        assert!(Regex::new("web").unwrap().matches("my-web-1"));
    }

    #[test]
    fn what_is_no_expression_is_refused() {
        let error = Regex::new("a(").err().unwrap().to_string();
        assert!(error.starts_with("pattern \"a(\": "), "{error}");
        assert!(error.len() > "pattern \"a(\": ".len());
        assert!(Regex::new("a\0").is_err());
    }
}
