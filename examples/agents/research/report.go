package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

const (
	maxAddresses = 200
	maxAddress   = 500 // bytes
)

var address = regexp.MustCompile("https?://[^\\s\"'<>()\\[\\]{}|\\\\^`]+")

// addresses are those that tools have shown, in their order.
type addresses []string

func (a *addresses) add(text string) {
	for _, found := range addressesIn(text) {
		if len(*a) < maxAddresses && !slices.Contains(*a, found) {
			*a = append(*a, found)
		}
	}
}

func addressesIn(text string) []string {
	var found []string
	for _, a := range address.FindAllString(text, -1) {
		if a = strings.TrimRight(a, ".,;:!?*_"); len(a) <= maxAddress {
			found = append(found, a)
		}
	}
	return found
}

// output is the result by now. Before there is an answer, all that tools have shown are
// its sources: it is what a run that reaches its budget leaves.
func (r *research) output() output {
	sources := []string{}
	cited := addressesIn(r.said)
	for _, a := range r.shown {
		if r.said == "" || slices.Contains(cited, a) {
			sources = append(sources, a)
		}
	}
	return output{Answer: r.said, Sources: sources, Rounds: r.rounds}
}

// report is the result for people, as Markdown.
func (r *research) report() string {
	var b strings.Builder
	result := r.output()
	fmt.Fprintf(&b, "# Question\n\n%s\n\n# Answer\n\n%s\n", r.in.Question, result.Answer)
	list := func(title string, entries []string) {
		if len(entries) == 0 {
			return
		}
		fmt.Fprintf(&b, "\n# %s\n\n", title)
		for _, entry := range entries {
			fmt.Fprintf(&b, "- %s\n", entry)
		}
	}
	list("Sources", result.Sources)
	list("Calls of tools", r.calls)
	fmt.Fprintf(&b, "\n%d rounds with %s.\n", r.rounds, r.model)
	return b.String()
}
