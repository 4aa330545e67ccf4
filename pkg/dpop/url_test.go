package dpop

import "testing"

func TestNormalURL(t *testing.T) {
	for raw, want := range map[string]string{
		"https://api.example/a":                                       "https://api.example/a",
		"HTTPS://API.Example/A":                                       "https://api.example/A",
		"https://api.example":                                         "https://api.example/",
		"https://api.example?q=/x":                                    "https://api.example/",
		"https://api.example/a?b=c#d":                                 "https://api.example/a",
		"https://api.example/a#?b":                                    "https://api.example/a",
		"https://api.example:443/a":                                   "https://api.example/a",
		"https://api.example:/a":                                      "https://api.example/a",
		"https://api.example:80/a":                                    "https://api.example:80/a",
		"http://127.0.0.1:80/a":                                       "http://127.0.0.1/a",
		"http://127.0.0.1:3000/a":                                     "http://127.0.0.1:3000/a",
		"https://[2001:DB8::443]/a":                                   "https://[2001:db8::443]/a",
		"https://api.example/%7Ea/%2f%C3%a9":                          "https://api.example/~a/%2F%C3%A9",
		"https://api.example/%2541":                                   "https://api.example/%2541",
		"https://api.example/a/./b/../c":                              "https://api.example/a/c",
		"https://api.example/a/%2E%2e/c":                              "https://api.example/c",
		"https://api.example/../../a":                                 "https://api.example/a",
		"https://api.example/a/..":                                    "https://api.example/",
		"https://api.example/a/.":                                     "https://api.example/a/",
		"https://api.example/a//b/":                                   "https://api.example/a//b/",
		"https://api.example//":                                       "https://api.example//",
		"https://api.example/a;b,c!$&'()*+=:@":                        "https://api.example/a;b,c!$&'()*+=:@",
		"https://api.example/[%5B%5D]":                                "https://api.example/[[]]",
		"https://api.example/%21%24%26%27%28%29%2a%2B%2C%3b%3d%3A%40": "https://api.example/!$&'()*+,;=:@",
		"https://api.example/%3f%23%25%7c%5e%22":                      "https://api.example/%3F%23%25%7C%5E%22",
	} {
		got, err := normalURL(raw)
		if err != nil || got != want {
			t.Errorf("%s: got %s, %v, want %s", raw, got, err, want)
		}
		if again, err := normalURL(got); err != nil || again != got {
			t.Errorf("%s: %s becomes %s, %v", raw, got, again, err)
		}
	}
	for _, raw := range []string{
		"", "/a", "api.example/a", "//api.example/a", "ftp://api.example/a", "https:api.example", "https:/a", "https:///a", "https://:443/a",
		"https://user@api.example/a", "https://user:x@api.example/a", "https://api.example/a b", "https://api.example/\u00e9",
		"https://api.example/%zz", "https://api.example/%", "https://api%2Eexample/a", "https://api.example:x/a", "https://api.example\\a/",
		"https://api.example/a\n", "https://[::1%25eth0]/a", "https://api.example/\x00",
	} {
		if got, err := normalURL(raw); err == nil {
			t.Errorf("%q: taken as %s", raw, got)
		}
	}
}

// FuzzNormalURL: what is normal stays as it is.
func FuzzNormalURL(f *testing.F) {
	for _, raw := range []string{"https://a/b", "http://A:80/%7e/../c?d#e", "https://[::1]:443//%2f/."} {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		once, err := normalURL(raw)
		if err != nil {
			return
		}
		if again, err := normalURL(once); err != nil || again != once {
			t.Errorf("%q: %q becomes %q, %v", raw, once, again, err)
		}
	})
}
