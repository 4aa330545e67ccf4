package user

import (
	"strings"
	"testing"
)

func TestPasswords(t *testing.T) {
	r := &Record{Username: "ada.lovelace@example.com", Name: "Ada Lovelace"}
	takes := func(password string) {
		t.Helper()
		hash, err := Hash(password, r)
		if err != nil {
			t.Errorf("%q: %v", password, err)
			return
		}
		p, err := parseHash(hash)
		if err != nil {
			t.Fatalf("%q: %s: %v", password, hash, err)
		}
		normal, err := normalizePassword(password)
		if err != nil || !p.matches(normal) || p.matches(normal+"x") || strings.Contains(hash, password) {
			t.Errorf("%q: %v; hashed as %s", password, err, hash)
		}
	}
	refuses := func(password, why string) {
		t.Helper()
		if _, err := Hash(password, r); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%q: %v; want that it is refused: %s", password, err, why)
		}
	}
	takes("correct horse battery staple")
	takes("tüllgardinen")
	takes("пароль не из списка")
	takes("訂單訂單和密碼在這裡")
	takes("❤️👨‍👩‍👧 in 8 signs")
	takes("        .x") // spaces count, and are not cut off
	takes("plausib1e")
	takes(strings.Repeat("long and ", 28) + "good") // 256 of them
	refuses("seven77", "8 to 256 characters")
	refuses(strings.Repeat("long and ", 28)+"good!", "8 to 256 characters")
	refuses(strings.Repeat("ﷺ", 15), "8 to 256 characters") // one that NFKC makes eighteen of
	refuses(strings.Repeat("a\u0301", 3)+"xyz", "8 to 256 characters")
	refuses("tab\tulator", "no control characters")
	refuses("line\nfeed!", "no control characters")
	refuses("\xff\xfeabcdefgh", "8 to 256 characters")
	refuses("not yet \U000e0fff!", "8 to 256 characters") // not assigned
	refuses(strings.Repeat("x", 1<<20), "8 to 256 characters")
	for _, common := range []string{"password", "PassWord", "12345678", "qwerty123", "iloveyou", "password!", "1234password1234", "ｐａｓｓｗｏｒｄ"} {
		refuses(common, "commonest")
	}
	for _, row := range []string{"aaaaaaaa", "zxzxzxzxzx", "hgfedcba", "αβγδεζηθ"} {
		refuses(row, "over and over")
	}
	for _, own := range []string{"ada.lovelace@example.com", "Lovelace1815", "latchkey2026", "LatchkeyLatchkey", "Ada Lovelace!"} {
		refuses(own, "name")
	}
}

// TestNormalForm: the same keys on another machine are the same password.
func TestNormalForm(t *testing.T) {
	same := func(a, b string) {
		t.Helper()
		x, err1 := normalizePassword(a)
		y, err2 := normalizePassword(b)
		if err1 != nil || err2 != nil || x != y {
			t.Errorf("%q is %q (%v), %q is %q (%v)", a, x, err1, b, y, err2)
		}
	}
	same("zürich-züge", "zu\u0308rich-zu\u0308ge")
	same("full width", "ｆｕｌｌ　ｗｉｄｔｈ")
	same("no\u00a0break", "no break")
	if x, _ := normalizePassword("Case Matters"); x != "Case Matters" {
		t.Errorf("it became %q", x)
	}
}

const goodHash = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$GHoYvCL1nMcBAQqBmNsKl+ZTYJ7n1WOi1wMu0AI2bq4"

func TestParseHash(t *testing.T) {
	p, err := parseHash(goodHash)
	if err != nil || p.Params != DefaultParams || string(p.salt) != "saltsaltsaltsalt" || p.String() != goodHash {
		t.Fatalf("%+v, %v", p, err)
	}
	swap := func(old, new string) string { return strings.Replace(goodHash, old, new, 1) }
	for _, bad := range []string{
		"", "$", goodHash + "\n", " " + goodHash, goodHash + "=", goodHash[:len(goodHash)-1],
		swap("argon2id", "argon2i"), swap("argon2id", "scrypt"), swap("v=19", "v=16"), swap("v=19$", ""),
		swap("m=19456", "m=0"), swap("m=19456", "m=7"), swap("m=19456", "m=019456"), swap("m=19456", "m=65537"), swap("m=19456", "m=4294967296"),
		swap("m=19456", "m=+19456"), swap("m=19456,t=2,p=1", "m=8,t=1,p=2"), swap("m=19456,t=2", "t=2,m=19456"),
		swap("t=2", "t=0"), swap("t=2", "t=11"), swap("p=1", "p=0"), swap("p=1", "p=5"), swap("p=1", "p=1,data=x"),
		swap("c2FsdA$", "c2FsdB$"), swap("2bq4", "2bq5"), swap("+ZTY", "-ZTY"), swap("c2Fsd", "c2 sd"),
	} {
		if p, err := parseHash(bad); err == nil {
			t.Errorf("%q: read as %+v", bad, p)
		}
	}
}

// FuzzParseHash: what is read is written the same, and asks for no more than a process has.
func FuzzParseHash(f *testing.F) {
	f.Add(goodHash)
	f.Add("$argon2id$v=19$m=8,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
	f.Fuzz(func(t *testing.T, s string) {
		p, err := parseHash(s)
		if err != nil {
			return
		}
		if p.String() != s || p.Memory > mostParams.Memory || p.Time > mostParams.Time || p.Threads > mostParams.Threads {
			t.Errorf("%q is read as %s", s, p)
		}
	})
}

func TestUsernames(t *testing.T) {
	for given, want := range map[string]string{
		"ada": "ada", "ADA": "ada", "Ada@Example.COM": "ada@example.com", "j_doe": "j_doe", "ｂｏｂ": "bob", "Bu\u0308cher": "bücher",
		"ΣΙΓΜΑ": "σιγμα", "訂單": "訂單", "o'neill": "o'neill",
	} {
		if got, err := Normalize(given); err != nil || got != want {
			t.Errorf("%q: %q, %v; want %q", given, got, err, want)
		}
	}
	for _, bad := range []string{
		"", " ", "two words", "ada\n", "ada\x00", "u_0123456789abcdefghij_-", "U_x", "x_y", "\u200bada", "ada\u202e", "\xff", "♥",
		strings.Repeat("a", MaxUsernameLen+1), strings.Repeat("訂", 43), strings.Repeat("a", 1<<20),
	} {
		if got, err := Normalize(bad); err == nil {
			t.Errorf("%q: taken as %q", bad, got)
		}
	}
}

// FuzzNormalize: a normal form is its own, so that no two spellings of it are two users.
func FuzzNormalize(f *testing.F) {
	for _, s := range []string{"ada", "Ada", "ｂｏｂ", "ß", "ﬁ", "İ"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		name, err := Normalize(s)
		if err != nil {
			return
		}
		if again, err := Normalize(name); err != nil || again != name || len(name) > MaxUsernameLen {
			t.Errorf("%q is %q, and that is %q, %v", s, name, again, err)
		}
	})
}
