package deploytest

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Stack is a Document with its parameters, conditions and Fn::If worked out: what one deployment would make. References
// between resources, and Fn::Sub, are left as they are.
type Stack struct {
	Resources map[string]Resource
	Outputs   map[string]Output
}

// noValue stands for what Ref AWS::NoValue takes away.
var noValue = new(struct{ _ byte })

// Deploy works the document out for parameters, with defaults for those not given. It fails on a name that the template
// does not declare, and on a violated rule, with the rule's words.
func (d *Document) Deploy(parameters map[string]string) (stack *Stack, err error) {
	r := &resolver{document: d, values: make(map[string]string)}
	for name, p := range d.Parameters {
		r.values[name] = fmt.Sprint(p.Default)
	}
	for name, value := range parameters {
		if _, ok := d.Parameters[name]; !ok {
			return nil, fmt.Errorf("no parameter %s", name)
		}
		r.values[name] = value
	}
	defer func() {
		if e := recover(); e != nil {
			bad, ok := e.(templateError)
			if !ok {
				panic(e)
			}
			stack, err = nil, bad
		}
	}()

	var violated []string
	for _, name := range slices.Sorted(maps.Keys(d.Rules)) {
		rule := d.Rules[name]
		if rule.RuleCondition != nil && !r.holds(rule.RuleCondition) {
			continue
		}
		for _, a := range rule.Assertions {
			if !r.holds(a.Assert) {
				violated = append(violated, a.AssertDescription)
			}
		}
	}
	if violated != nil {
		return nil, fmt.Errorf("refused: %s", strings.Join(violated, " "))
	}

	stack = &Stack{Resources: make(map[string]Resource), Outputs: make(map[string]Output)}
	for id, resource := range d.Resources {
		if resource.Condition != "" && !r.condition(resource.Condition) {
			continue
		}
		resource.Properties, _ = r.value(resource.Properties).(map[string]any)
		stack.Resources[id] = resource
	}
	for name, output := range d.Outputs {
		if output.Condition != "" && !r.condition(output.Condition) {
			continue
		}
		output.Value = r.value(output.Value)
		stack.Outputs[name] = output
	}
	return stack, nil
}

type templateError string

func (e templateError) Error() string { return string(e) }

type resolver struct {
	document *Document
	values   map[string]string
}

func (r *resolver) condition(name string) bool {
	c, ok := r.document.Conditions[name]
	if !ok {
		panic(templateError("no condition " + name))
	}
	return r.holds(c)
}

// holds evaluates a condition function.
func (r *resolver) holds(v any) bool {
	name, args := function(v)
	list, _ := args.([]any)
	switch name {
	case "Condition":
		id, _ := args.(string)
		return r.condition(id)
	case "Fn::Equals":
		return len(list) == 2 && fmt.Sprint(r.value(list[0])) == fmt.Sprint(r.value(list[1]))
	case "Fn::Not":
		return len(list) == 1 && !r.holds(list[0])
	case "Fn::And":
		return !slices.ContainsFunc(list, func(v any) bool { return !r.holds(v) })
	case "Fn::Or":
		return slices.ContainsFunc(list, r.holds)
	}
	panic(templateError("not a condition: " + Render(v)))
}

// value resolves what conditions and parameters decide in v.
func (r *resolver) value(v any) any {
	switch v := v.(type) {
	case []any:
		list := make([]any, 0, len(v))
		for _, e := range v {
			if e := r.value(e); e != noValue {
				list = append(list, e)
			}
		}
		return list
	case map[string]any:
		switch name, args := function(v); name {
		case "Ref":
			if args == "AWS::NoValue" {
				return noValue
			}
			id, _ := args.(string)
			if value, ok := r.values[id]; ok {
				return value
			}
			return v
		case "Fn::If":
			list, _ := args.([]any)
			if len(list) != 3 {
				panic(templateError("Fn::If wants a condition and two values: " + Render(v)))
			}
			id, _ := list[0].(string)
			if r.condition(id) {
				return r.value(list[1])
			}
			return r.value(list[2])
		case "Fn::Select":
			list, _ := args.([]any)
			if len(list) != 2 {
				panic(templateError("Fn::Select wants an index and a list: " + Render(v)))
			}
			return r.selected(list[0], list[1])
		}
		object := make(map[string]any, len(v))
		for key, e := range v {
			if e := r.value(e); e != noValue {
				object[key] = e
			}
		}
		return object
	}
	return v
}

// selected works out Fn::Select from an Fn::Split, for a text in which there are parameters alone.
func (r *resolver) selected(index, from any) any {
	name, args := function(from)
	list, _ := args.([]any)
	if name != "Fn::Split" || len(list) != 2 {
		panic(templateError("Fn::Select from anything but an Fn::Split: " + Render(from)))
	}
	text := variable.ReplaceAllStringFunc(Render(list[1]), func(name string) string {
		value, ok := r.values[strings.Trim(name, "${}")]
		if !ok {
			panic(templateError("no parameter " + name))
		}
		return value
	})
	parts := strings.Split(text, Render(list[0]))
	i, err := strconv.Atoi(fmt.Sprint(index))
	if err != nil || i < 0 || i >= len(parts) {
		panic(templateError(fmt.Sprintf("no element %v in %q", index, text)))
	}
	return parts[i]
}

// function returns the name and argument of an intrinsic function, and "" for any other value.
func function(v any) (string, any) {
	object, ok := v.(map[string]any)
	if !ok || len(object) != 1 {
		return "", nil
	}
	for name, args := range object {
		if name == "Ref" || name == "Condition" || strings.HasPrefix(name, "Fn::") {
			return name, args
		}
	}
	return "", nil
}

// variable finds ${Name}, ${Name.Attribute} and ${AWS::Name} in the text of Fn::Sub; ${!Literal} is none.
var variable = regexp.MustCompile(`\$\{([^!}][^}]*)\}`)

// References returns the logical ids, parameters and pseudo parameters that v refers to, with Ref, Fn::GetAtt or Fn::Sub.
func References(v any) []string {
	var names []string
	walk(v, func(name string, args any) {
		switch name {
		case "Ref":
			id, _ := args.(string)
			names = append(names, id)
		case "Fn::GetAtt":
			if list, ok := args.([]any); ok && len(list) > 0 {
				args = list[0]
			}
			id, _ := args.(string)
			id, _, _ = strings.Cut(id, ".")
			names = append(names, id)
		case "Fn::Sub":
			var local map[string]any
			if list, ok := args.([]any); ok && len(list) == 2 {
				args = list[0]
				local, _ = list[1].(map[string]any)
			}
			text, _ := args.(string)
			for _, match := range variable.FindAllStringSubmatch(text, -1) {
				id, _, _ := strings.Cut(match[1], ".")
				if _, ok := local[id]; !ok {
					names = append(names, id)
				}
			}
		}
	}, nil)
	return names
}

// Conditions returns the names of the conditions that v depends on, by Fn::If or by themselves.
func Conditions(v any) []string {
	var names []string
	walk(v, func(name string, args any) {
		if list, ok := args.([]any); name == "Fn::If" && ok && len(list) > 0 {
			args = list[0]
		} else if name != "Condition" {
			return
		}
		id, _ := args.(string)
		names = append(names, id)
	}, nil)
	return names
}

// Literals returns the strings of v that no Fn::Sub will work on.
func Literals(v any) []string {
	var texts []string
	walk(v, nil, func(text string) { texts = append(texts, text) })
	return texts
}

// walk calls intrinsic for each function in v and literal for each string that is not the text of a Fn::Sub.
func walk(v any, intrinsic func(name string, args any), literal func(string)) {
	switch v := v.(type) {
	case string:
		if literal != nil {
			literal(v)
		}
	case []any:
		for _, e := range v {
			walk(e, intrinsic, literal)
		}
	case map[string]any:
		name, args := function(v)
		if name != "" && intrinsic != nil {
			intrinsic(name, args)
		}
		if name == "Fn::Sub" {
			if list, ok := args.([]any); ok && len(list) == 2 {
				walk(list[1], intrinsic, literal)
			}
			return
		}
		for _, e := range v {
			walk(e, intrinsic, literal)
		}
	}
}

// Render writes a value on one line: references as ${Name} or ${Name.Attribute}, strings and Fn::Sub as their text, all
// else as JSON.
func Render(v any) string {
	if text, ok := v.(string); ok {
		return text
	}
	switch name, args := function(v); name {
	case "Ref":
		return fmt.Sprintf("${%v}", args)
	case "Fn::GetAtt":
		if list, ok := args.([]any); ok && len(list) == 2 {
			return fmt.Sprintf("${%v.%v}", list[0], list[1])
		}
	case "Fn::Sub":
		if text, ok := args.(string); ok {
			return text
		}
		if list, ok := args.([]any); ok && len(list) == 2 {
			text, _ := list[0].(string)
			local, _ := list[1].(map[string]any)
			for name, value := range local {
				text = strings.ReplaceAll(text, "${"+name+"}", Render(value))
			}
			return text
		}
	}
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(text)
}
