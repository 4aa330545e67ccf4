package routes

import (
	"encoding/json"
	"fmt"

	"github.com/latchkey-auth/latchkey/internal/strictjson"
)

// Parse reads a compiled document. It refuses what `latchkey routes compile` does not write: unknown and repeated members,
// another version, rules that contradict each other, and form "token" where that isn't safe.
func Parse(data []byte) (*Set, error) {
	if len(data) > MaxBytes {
		return nil, fmt.Errorf("routes: the document has %d bytes, and may have %d", len(data), MaxBytes)
	}
	var version int64
	var apis []API
	err := strictjson.Object(data, func(d *strictjson.Decoder, name []byte) (err error) {
		switch string(name) {
		case "version":
			version, err = d.Int()
		case "apis":
			err = d.ArrayUpTo(MaxAPIs, func(d *strictjson.Decoder) error {
				a, err := readAPI(d)
				apis = append(apis, a)
				return err
			})
		default:
			err = unknown(name)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("routes: %w", err)
	}
	if version != Version {
		return nil, fmt.Errorf("routes: the document has version %d, and this program reads %d", version, Version)
	}
	for i := range apis {
		if apis[i].Form == "" {
			return nil, &Error{i, -1, "form", "the form is missing"}
		}
	}
	return New(apis)
}

// Encode writes the compiled document: the same Set always gives the same bytes.
func (s *Set) Encode() ([]byte, error) {
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return nil, err
	}
	if data = append(data, '\n'); len(data) > MaxBytes {
		return nil, fmt.Errorf("routes: compiled the rules have %d bytes, and may have %d", len(data), MaxBytes)
	}
	return data, nil
}

func unknown(name []byte) error { return fmt.Errorf("unknown member %q", name) }

func readAPI(d *strictjson.Decoder) (a API, err error) {
	err = d.Object(func(d *strictjson.Decoder, name []byte) (err error) {
		switch string(name) {
		case "api":
			a.ID, err = d.String()
		case "stage":
			a.Stage, err = d.String()
		case "audiences":
			a.Audiences, err = readStrings(d, MaxAudiences)
		case "form":
			var form string
			form, err = d.String()
			a.Form = Form(form)
		case "complete":
			a.Complete, err = d.Bool()
		case "bound":
			a.Bound, err = d.Bool()
		case "context":
			a.Context, err = readStrings(d, len(Claims))
		case "routes":
			err = d.ArrayUpTo(MaxRoutes, func(d *strictjson.Decoder) error {
				r, err := readRoute(d)
				a.Routes = append(a.Routes, r)
				return err
			})
		default:
			err = unknown(name)
		}
		return err
	})
	return a, err
}

func readRoute(d *strictjson.Decoder) (r Route, err error) {
	err = d.Object(func(d *strictjson.Decoder, name []byte) (err error) {
		switch string(name) {
		case "method":
			r.Method, err = d.String()
		case "path":
			r.Path, err = d.String()
		case "all_of":
			r.AllOf, err = readStrings(d, MaxScopes)
		case "any_of":
			err = d.ArrayUpTo(MaxScopes, func(d *strictjson.Decoder) error {
				alternative, err := readStrings(d, MaxScopes)
				r.AnyOf = append(r.AnyOf, alternative)
				return err
			})
			if err == nil && len(r.AnyOf) == 0 {
				err = fmt.Errorf("any_of has no alternative")
			}
		default:
			err = unknown(name)
		}
		return err
	})
	return r, err
}

func readStrings(d *strictjson.Decoder, most int) ([]string, error) {
	var out []string
	err := d.ArrayUpTo(most, func(d *strictjson.Decoder) error {
		s, err := d.String()
		out = append(out, s)
		return err
	})
	return out, err
}
