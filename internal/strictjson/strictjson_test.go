package strictjson

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

// skip reads data as one object of anything.
func skip(data string) error {
	return Object([]byte(data), func(d *Decoder, _ []byte) error { return d.Skip() })
}

func TestAccepts(t *testing.T) {
	for _, data := range []string{
		`{}`, ` { } `, `{"a":1}`, `{"a":-0.5e+10,"b":[],"c":{"a":null},"d":true,"e":false}`,
		`{"a":"\"\\\/\b\f\n\r\té😀"}`, "{\"é\":\"\u2028\"}", `{"a":{},"A":{}}`, `{"a":0}`,
	} {
		if err := skip(data); err != nil {
			t.Errorf("%s: %v", data, err)
		}
		if !json.Valid([]byte(data)) {
			t.Errorf("%s is not JSON: the table is wrong", data)
		}
	}
}

func TestRefuses(t *testing.T) {
	deep := strings.Repeat(`{"a":`, MaxDepth) + `{}` + strings.Repeat(`}`, MaxDepth)
	many := `{"a":[` + strings.Repeat("1,", MaxMembers) + `1]}`
	for name, data := range map[string]string{
		"empty": ``, "an array": `[]`, "a string": `"a"`, "null": `null`,
		"trailing data": `{} {}`, "trailing comma": `{"a":1,}`, "leading comma": `{,"a":1}`, "no comma": `{"a":1 "b":2}`,
		"no colon": `{"a" 1}`, "no value": `{"a":}`, "open": `{"a":1`, "open string": `{"a":"`, "open escape": `{"a":"\`,
		"duplicate": `{"a":1,"a":2}`, "duplicate by escape": `{"a":1,"\u0061":2}`, "duplicate inside": `{"a":{"b":1,"b":2}}`,
		"byte order mark": "\ufeff{}", "control character": "{\"a\":\"\n\"}", "invalid UTF-8": "{\"a\":\"\xff\"}",
		"invalid UTF-8 after an escape": "{\"a\":\"\\n\xff\"}", "invalid UTF-8 in a name": "{\"\xc0\xaf\":1}",
		"lone surrogate": `{"a":"\ud83d"}`, "reversed pair": `{"a":"\ude00\ud83d"}`, "bad escape": `{"a":"\x41"}`,
		"short escape": `{"a":"\u12"}`, "signed escape": `{"a":"\u+123"}`, "leading zero": `{"a":01}`, "plus": `{"a":+1}`,
		"more than a double": `{"a":1e999}`, "less than one": `{"a":-1` + strings.Repeat("0", 400) + `}`,
		"NaN": `{"a":NaN}`, "Infinity": `{"a":-Infinity}`, "hex": `{"a":0x1}`, "dot": `{"a":1.}`, "bare exponent": `{"a":1e}`,
		"single quotes": `{'a':1}`, "comment": `{/**/}`, "too deep": deep, "too many": many, "True": `{"a":True}`,
		"form feed as space": "{\f}", "non-breaking space": "{\u00a0}",
	} {
		if err := skip(data); !errors.Is(err, ErrSyntax) {
			t.Errorf("%s: got %v, want ErrSyntax", name, err)
		}
	}
}

func TestInt(t *testing.T) {
	read := func(s string) (n int64, err error) {
		err = Object([]byte(`{"n":`+s+`}`), func(d *Decoder, _ []byte) (err error) {
			n, err = d.Int()
			return err
		})
		return n, err
	}
	for s, want := range map[string]int64{"0": 0, "-1": -1, "1700000000": 1700000000, "9007199254740992": 1 << 53} {
		if n, err := read(s); err != nil || n != want {
			t.Errorf("%s: got %d, %v", s, n, err)
		}
	}
	for _, s := range []string{"1.0", "1e3", "1E3", `"1"`, "true", "null", "[]", "{}", "9007199254740993", "99999999999999999999", "01", "-", ""} {
		if n, err := read(s); !errors.Is(err, ErrSyntax) {
			t.Errorf("%s: got %d, %v, want ErrSyntax", s, n, err)
		}
	}
}

func TestStrings(t *testing.T) {
	read := func(s string) (list []string, err error) {
		err = Object([]byte(`{"n":`+s+`}`), func(d *Decoder, _ []byte) (err error) {
			list, err = d.Strings()
			return err
		})
		return list, err
	}
	for s, want := range map[string]string{`"a"`: "a", `["a","b"]`: "a|b", `[]`: "", `["\u0061\n"]`: "a\n"} {
		if list, err := read(s); err != nil || strings.Join(list, "|") != want {
			t.Errorf("%s: got %q, %v", s, list, err)
		}
	}
	for _, s := range []string{`1`, `[1]`, `null`, `["a",null]`, `{"a":"b"}`} {
		if list, err := read(s); err == nil {
			t.Errorf("%s: got %q, want an error", s, list)
		}
	}
}

func TestUnreadMember(t *testing.T) {
	if err := Object([]byte(`{"a":1}`), func(*Decoder, []byte) error { return nil }); !errors.Is(err, ErrSyntax) {
		t.Errorf("got %v, want ErrSyntax", err)
	}
}

// FuzzObject holds the decoder to encoding/json: what we accept, it accepts.
func FuzzObject(f *testing.F) {
	for _, s := range []string{`{"a":[1,"\u00e9",{"b":null}]}`, `{"a":1e999}`, `{"a":1,"A":-1.5e3}`, "{\"\xff\":1}", `{"a":"\ud83d\ude00"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var v map[string]any
		if skip(string(data)) != nil {
			return
		}
		if err := json.Unmarshal(data, &v); err != nil {
			t.Errorf("accepted %q: %v", data, err)
		}
	})
}

func TestBool(t *testing.T) {
	for text, want := range map[string]any{
		"true": true, " false ": false, "True": nil, "1": nil, `"true"`: nil, "null": nil, "tru": nil, "": nil, "truefalse": nil,
	} {
		var got any
		err := Object([]byte(`{"a":`+text+`}`), func(d *Decoder, _ []byte) error {
			b, err := d.Bool()
			got = b
			return err
		})
		if want == nil && err == nil || want != nil && (err != nil || got != want) {
			t.Errorf("%q: %v, %v, want %v", text, got, err, want)
		}
	}
}

func TestArrayUpTo(t *testing.T) {
	read := func(elements, most int) error {
		return Object([]byte(`{"a":[`+strings.TrimSuffix(strings.Repeat("1,", elements), ",")+`]}`), func(d *Decoder, _ []byte) error {
			return d.ArrayUpTo(most, func(d *Decoder) error { return d.Skip() })
		})
	}
	if err := read(10*MaxMembers, 10*MaxMembers); err != nil {
		t.Error(err)
	}
	if err := read(3, 2); err == nil {
		t.Error("3 elements where 2 are allowed")
	}
}

func TestScalar(t *testing.T) {
	read := func(s string) (text string, err error) {
		err = Object([]byte(`{"a":`+s+`}`), func(d *Decoder, _ []byte) (err error) {
			text, err = d.Scalar()
			return err
		})
		return text, err
	}
	for s, want := range map[string]string{`"a"`: "a", `""`: "", "true": "true", " false": "false", "12": "12", "-1": "-1", `"12"`: "12"} {
		if got, err := read(s); err != nil || got != want {
			t.Errorf("%s: %q, %v", s, got, err)
		}
	}
	for _, s := range []string{"null", "[]", `["a"]`, "{}", "1.0", "1e3", "tru", "fals", ""} {
		if got, err := read(s); err == nil {
			t.Errorf("%s: %q, want an error", s, got)
		}
	}
}

// TestCut: what is cut from the copy is what is read otherwise, wherever there are escapes, and stands on its own.
func TestCut(t *testing.T) {
	const document = ` {"a" : "plain","b":"","c":"\u0061b","\u0064":"é","e":["x","\n","y"],"f":"\"","ff":"\\","g":{"h":"i","\u006a":"k"}} `
	read := func(reader func([]byte, func(*Decoder, []byte) error) error) string {
		var out []string
		data := []byte(document)
		var member func(d *Decoder, name []byte) error
		member = func(d *Decoder, name []byte) error {
			out = append(out, d.Name(name))
			if string(name) == "g" {
				return d.Object(member)
			}
			list, err := d.AppendStrings(nil)
			out = append(out, list...)
			return err
		}
		if err := reader(data, member); err != nil {
			t.Fatal(err)
		}
		clear(data)
		return strings.Join(out, "|")
	}
	want := "a|plain|b||c|ab|d|é|e|x|\n|y|f|\"|ff|\\|g|h|i|j|k"
	if got := read(Object); got != want {
		t.Errorf("Object: got %q, want %q", got, want)
	}
	var d Decoder
	for range 2 {
		if got := read(d.Cut); got != want {
			t.Errorf("Cut: got %q, want %q", got, want)
		}
	}
	if err := d.Cut([]byte(`{"a":"b"} x`), func(d *Decoder, _ []byte) error { return d.Skip() }); !errors.Is(err, ErrSyntax) {
		t.Errorf("Cut took trailing data: %v", err)
	}
}
