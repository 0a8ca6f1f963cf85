package product

import (
	"encoding/json"
	"maps"
	"regexp"
	"regexp/syntax"
	"slices"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// weight is the work of a schema's own keywords, in the units of maxEffort: all
// but that of the schemas with a gate that they lead to. The work of patterns is
// counted as they match.
type weight struct {
	fixed   int64 // for each value,
	perItem int64 // for each item of a list and each property of an object,
	numbers int64 // for comparing numbers with const and enum
	unique  bool  // for comparing the items of a list with each other
}

// weigh returns the weight of a schema whose subschemas are compiled as well.
func weigh(s *jsonschema.Schema) weight {
	inPlace := slices.Concat(s.AllOf, s.AnyOf, s.OneOf, []*jsonschema.Schema{s.Not, s.If, s.Then, s.Else},
		slices.Collect(maps.Values(s.DependentSchemas)))
	booleans := len(s.Dependencies)
	for _, sub := range inPlace {
		if sub != nil && sub.Bool != nil {
			booleans++
		}
	}
	names := len(s.Required)
	for _, required := range s.DependentRequired {
		names += 1 + len(required)
	}
	for _, required := range s.Dependencies {
		if list, ok := required.([]string); ok {
			names += 1 + len(list)
		}
	}
	var wanted []any
	if s.Enum != nil {
		wanted = slices.Clone(s.Enum.Values)
	}
	if s.Const != nil {
		wanted = append(wanted, *s.Const)
	}
	values, numbers := size(wanted)
	return weight{
		fixed: int64(len(inPlace)) + 4*int64(names) + values/16, perItem: 2 + int64(booleans),
		numbers: 5 * numbers, unique: s.UniqueItems,
	}
}

// of returns the work for a value.
func (w weight) of(v any) int64 {
	switch v := v.(type) {
	case string:
		return w.fixed + int64(len(v))/32
	case json.Number:
		return w.fixed + numberSize(v)/8 + w.numbers
	case map[string]any:
		return w.fixed + w.perItem*int64(len(v)) + w.numbers
	case []any:
		work := w.fixed + w.perItem*int64(len(v)) + w.numbers
		if w.unique {
			work += comparing(v)
		}
		return work
	default:
		return w.fixed
	}
}

// comparing is the work of comparing the items of a list with each other. The
// library finds equal items of long lists by hashes, which lists and objects can
// be made to share.
func comparing(items []any) int64 {
	values, _ := size(items)
	if len(items) <= 20 || slices.ContainsFunc(items, composite) {
		return values + values*int64(len(items))/16
	}
	return 2 * values
}

func composite(v any) bool {
	switch v.(type) {
	case []any, map[string]any:
		return true
	default:
		return false
	}
}

// size counts the values within a value, and the numbers among them. What is long
// counts as several.
func size(v any) (values, numbers int64) {
	values = 1
	add := func(item any) {
		moreValues, moreNumbers := size(item)
		values, numbers = values+moreValues, numbers+moreNumbers
	}
	switch v := v.(type) {
	case string:
		values += int64(len(v)) / 64
	case json.Number:
		numbers = 1 + numberSize(v)/100
	case []any:
		for _, item := range v {
			add(item)
		}
	case map[string]any:
		for _, item := range v {
			add(item)
		}
	}
	return values, numbers
}

// numberSize is the length of a number that is written without an exponent.
func numberSize(n json.Number) int64 {
	e, _ := exponent(n)
	return int64(len(n) + max(e, -e))
}

// countedRegexp counts the work of matching: its instructions for each byte.
type countedRegexp struct {
	*regexp.Regexp
	effort       *effort
	instructions int64
}

func (r *countedRegexp) MatchString(s string) bool {
	r.effort.spend(2 + int64(len(s))*r.instructions/4)
	return r.Regexp.MatchString(s)
}

// regexp is the library's own engine for regular expressions, with its work
// counted: RE2 is linear in the text, but a few bytes such as (.{1,100}){10} stand
// for thousands of instructions.
func (e *effort) regexp(pattern string) (jsonschema.Regexp, error) {
	parsed, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return nil, err
	}
	n := instructions(parsed)
	e.spend(n * instructionEffort)
	compiled, err := regexp.Compile(pattern)
	if err != nil {
		return nil, err
	}
	return &countedRegexp{compiled, e, n}, nil
}

// instructions estimates the length of the program of a regular expression.
func instructions(re *syntax.Regexp) int64 {
	n := int64(1)
	if re.Op == syntax.OpLiteral {
		n = int64(len(re.Rune))
	}
	for _, sub := range re.Sub {
		n += instructions(sub)
	}
	if re.Op == syntax.OpRepeat {
		n *= int64(max(re.Min+1, re.Max))
	}
	return n
}
