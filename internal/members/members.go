// Package members carries what a newer release wrote into a stored JSON object, and this one does not know, through this one:
// after a roll-back it must not get lost when the object is written again. A type does so by a field of type Later, which it
// leaves out of its JSON, and by
//
//	type plain Record
//
//	func (r Record) MarshalJSON() ([]byte, error)     { return members.Marshal(plain(r), r.Later) }
//	func (r *Record) UnmarshalJSON(b []byte) (err error) { r.Later, err = members.Unmarshal(b, (*plain)(r)); return err }
package members

import (
	"bytes"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// Later are the members of an object that its type has no field for, by their names. Nil: there are none.
type Later map[string]json.RawMessage

// Unmarshal decodes an object into v, a pointer to a struct without an UnmarshalJSON of its own, and returns the members that
// the struct has no field for. Those of objects within it are not among them.
func Unmarshal(data []byte, v any) (Later, error) {
	// As a rule there are none, and to look for them costs as much as all the rest.
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if d.Decode(v) == nil && len(bytes.TrimSpace(data[d.InputOffset():])) == 0 {
		return nil, nil
	}
	reflect.ValueOf(v).Elem().SetZero()
	if err := json.Unmarshal(data, v); err != nil {
		return nil, err
	}
	var all Later
	if err := json.Unmarshal(data, &all); err != nil {
		return nil, err
	}
	known := names(reflect.TypeOf(v).Elem())
	maps.DeleteFunc(all, func(name string, _ json.RawMessage) bool {
		return slices.ContainsFunc(known, func(k string) bool { return strings.EqualFold(k, name) }) // as the decoder compares them
	})
	if len(all) == 0 {
		return nil, nil
	}
	return all, nil
}

// names are those of the members that a struct has fields for.
func names(t reflect.Type) []string {
	var list []string
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && name == "":
			list = append(list, names(f.Type)...)
		case name == "-" || !f.IsExported():
		case name == "":
			list = append(list, f.Name)
		default:
			list = append(list, name)
		}
	}
	return list
}

// Marshal encodes v, a struct without a MarshalJSON of its own, with other members behind its own.
func Marshal(v any, later Later) ([]byte, error) {
	data, err := json.Marshal(v)
	if err != nil || len(later) == 0 {
		return data, err
	}
	data = data[:len(data)-1]
	for _, name := range slices.Sorted(maps.Keys(later)) {
		key, err := json.Marshal(name)
		if err != nil {
			return nil, err
		}
		if len(data) > 1 {
			data = append(data, ',')
		}
		data = append(append(append(data, key...), ':'), later[name]...)
	}
	return append(data, '}'), nil
}
