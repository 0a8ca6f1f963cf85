package models

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"net/url"
	"slices"
	"strings"

	"agentmarket/fault"
	"agentmarket/money"
)

// The bounds of a catalog.
const (
	maxNameLength = 100
	maxPrice      = money.MaxMicros / tokensPerPrice
	// maxTokens is more than any call counts; a larger number is the upstream's mistake.
	maxTokens      = 100_000_000
	tokensPerPrice = 1_000_000
)

// The names of the field that bounds the output.
const (
	fieldMaxCompletionTokens = "max_completion_tokens"
	fieldMaxTokens           = "max_tokens"
)

// Model is a model that runs can be granted.
type Model struct {
	// Name is what agents call it: 1 to 100 letters, digits and ._:/- .
	Name string
	// Upstream is the name of the upstream that has it, UpstreamName what it is called
	// there.
	Upstream, UpstreamName string
	// Currency and the prices of a million tokens, in its micro-units: 2.50 USD is
	// 2500000. Input that the upstream has cached costs the same.
	Currency                string
	InputPrice, OutputPrice int64
	// MaxOutputTokens is the most that one answer has, and what a call that names no
	// bound asks for.
	MaxOutputTokens int64
	// PartTokens is what an image or a sound in a message counts at most. Zero: the
	// model takes text only, and anything else is refused.
	PartTokens int64
	// LegacyBound says that the upstream knows max_tokens and not
	// max_completion_tokens.
	LegacyBound bool
}

// Upstream is a server that speaks OpenAI's protocol.
type Upstream struct {
	Name string
	// BaseURL is what the paths of the protocol are appended to, as in OpenAI's
	// clients: https://api.openai.com/v1.
	BaseURL string
	// Key returns the operator's key. Empty: the upstream wants none. It is asked for each
	// call.
	Key func(context.Context, Session) (string, error)
	// OwnKey returns the buyer's own key, with which calls cost nothing here: the upstream
	// bills whoever has it. Empty: the buyer has none. Nil: buyers bring none.
	OwnKey func(context.Context, Session) (string, error)
}

// keyFor returns the key for calls of a session, and whether it is the buyer's own.
func (u Upstream) keyFor(ctx context.Context, s Session) (key string, own bool, err error) {
	if u.OwnKey != nil {
		if key, err = u.OwnKey(ctx, s); err != nil || key != "" {
			return key, true, err
		}
	}
	key, err = u.Key(ctx, s)
	return key, false, err
}

// cost is the price of tokens, rounded up to a whole micro-unit once.
func (m Model) cost(input, output int64) money.Amount {
	inHigh, inLow := bits.Mul64(uint64(max(input, 0)), uint64(m.InputPrice))
	outHigh, outLow := bits.Mul64(uint64(max(output, 0)), uint64(m.OutputPrice))
	low, carry := bits.Add64(inLow, outLow, 0)
	high := inHigh + outHigh + carry
	low, carry = bits.Add64(low, tokensPerPrice-1, 0)
	high += carry
	if high >= tokensPerPrice {
		return money.Of(money.MaxMicros, m.Currency)
	}
	micros, _ := bits.Div64(high, low, tokensPerPrice)
	return money.Of(int64(min(micros, money.MaxMicros)), m.Currency)
}

// affordable is the most output tokens, up to most of each choice, that an amount pays
// for beside the input.
func (m Model) affordable(amount money.Amount, input, choices, most int64) int64 {
	var least int64
	for least < most {
		middle := least + (most-least+1)/2
		if m.cost(input, choices*middle).Micros <= amount.Micros {
			least = middle
		} else {
			most = middle - 1
		}
	}
	return least
}

// maxField is the field that bounds the output of a call.
func (m Model) maxField() string {
	if m.LegacyBound {
		return fieldMaxTokens
	}
	return fieldMaxCompletionTokens
}

func (m Model) validate() error {
	unknown := func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("._:/-", c)
	}
	switch {
	case m.Name == "" || len(m.Name) > maxNameLength || strings.ContainsFunc(m.Name, unknown):
		return fmt.Errorf("model %.100q: the name has 1 to %d letters, digits and ._:/-", m.Name, maxNameLength)
	case m.UpstreamName == "":
		return fmt.Errorf("model %s: the upstream's name for it is missing", m.Name)
	case !money.ValidCurrency(m.Currency):
		return fmt.Errorf("model %s: %q is no currency", m.Name, m.Currency)
	case m.InputPrice < 0 || m.InputPrice > maxPrice || m.OutputPrice < 0 || m.OutputPrice > maxPrice:
		return fmt.Errorf("model %s: a price is 0 to %d", m.Name, int64(maxPrice))
	case m.MaxOutputTokens < 1 || m.MaxOutputTokens > maxTokens/maxChoices:
		return fmt.Errorf("model %s: the output has 1 to %d tokens", m.Name, maxTokens/maxChoices)
	case m.PartTokens < 0 || m.PartTokens > maxTokens/maxParts:
		return fmt.Errorf("model %s: a part counts 0 to %d tokens", m.Name, maxTokens/maxParts)
	}
	return nil
}

func (u Upstream) validate() error {
	at, err := url.Parse(u.BaseURL)
	switch {
	case err != nil || at.Scheme != "https" && at.Scheme != "http" || at.Host == "":
		return fmt.Errorf("upstream %s: the base URL is not one of HTTP", u.Name)
	case at.User != nil || at.RawQuery != "" || at.Fragment != "":
		return fmt.Errorf("upstream %s: the base URL has more than a scheme, a host and a path", u.Name)
	case u.Key == nil:
		return fmt.Errorf("upstream %s: there is no function for its key", u.Name)
	}
	return nil
}

// catalog is the models and upstreams by name.
type catalog struct {
	models    map[string]Model
	upstreams map[string]Upstream
}

func newCatalog(models []Model, upstreams []Upstream) (catalog, error) {
	c := catalog{models: map[string]Model{}, upstreams: map[string]Upstream{}}
	var wrong []error
	for _, u := range upstreams {
		if _, twice := c.upstreams[u.Name]; twice || u.Name == "" {
			wrong = append(wrong, fmt.Errorf("upstream %q: it needs a name of its own", u.Name))
		}
		c.upstreams[u.Name] = u
		wrong = append(wrong, u.validate())
	}
	for _, m := range models {
		if _, twice := c.models[m.Name]; twice {
			wrong = append(wrong, fmt.Errorf("model %s: it is there twice", m.Name))
		}
		if _, known := c.upstreams[m.Upstream]; !known {
			wrong = append(wrong, fmt.Errorf("model %s: there is no upstream %q", m.Name, m.Upstream))
		}
		c.models[m.Name] = m
		wrong = append(wrong, m.validate())
	}
	return c, errors.Join(wrong...)
}

// granted are the names of the models that a session may use, sorted.
func (c catalog) granted(s Session) []string {
	names := []string{}
	for name := range c.models {
		if s.grants(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// model is a model that is granted. One that is not and one that is none look the same.
func (c catalog) model(s Session, name string) (Model, error) {
	m, known := c.models[name]
	if !known || !s.grants(name) {
		return Model{}, fault.New(fault.NotFound, "model_not_found", "the model does not exist, or the run is not granted it")
	}
	return m, nil
}
