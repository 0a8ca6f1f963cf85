package api

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/marketplace"
	"agentmarket/money"
)

// catalogBody is a page of the catalog.
type catalogBody struct {
	Items      []catalogItem `json:"items"`
	NextCursor *string       `json:"next_cursor" doc:"Pass it as cursor for the next page; null on the last one."`
	Similar    bool          `json:"similar,omitempty" doc:"Nothing matches the words; these are spelt like them."`
}

// catalogItem is a listing in the form that was asked for.
type catalogItem struct {
	full  *listingBody
	short *catalogAgent
}

// MarshalJSON implements json.Marshaler.
func (i catalogItem) MarshalJSON() ([]byte, error) {
	if i.short != nil {
		return json.Marshal(i.short)
	}
	return json.Marshal(i.full)
}

// Schema implements huma.SchemaProvider.
func (catalogItem) Schema(r huma.Registry) *huma.Schema {
	return &huma.Schema{
		Description: "A listing, or with format=agent its short form.",
		OneOf: []*huma.Schema{
			r.Schema(reflect.TypeFor[listingBody](), true, ""),
			r.Schema(reflect.TypeFor[catalogAgent](), true, ""),
		},
	}
}

// catalogAgent is a listing for a program that chooses and calls agents.
type catalogAgent struct {
	Name         string           `json:"name" example:"acme/greeter"`
	Summary      string           `json:"summary"`
	Version      string           `json:"version,omitempty" doc:"Whose schemas these are. Absent: a preview, there is none yet." example:"1.2.0"`
	Model        string           `json:"model" doc:"How it is paid for."`
	Price        string           `json:"price" doc:"In one line." example:"0.25 USD per run"`
	InputSchema  json.RawMessage  `json:"input_schema,omitempty" doc:"JSON Schema. Absent: any JSON value."`
	OutputSchema json.RawMessage  `json:"output_schema,omitempty" doc:"JSON Schema. Absent: any JSON value."`
	URLs         catalogAgentURLs `json:"urls"`
}

type catalogAgentURLs struct {
	Estimate string `json:"estimate" doc:"POST here to learn what a run would cost."`
	Run      string `json:"run" doc:"POST here to start a run."`
}

// priceLine is a price in one line.
func priceLine(p marketplace.Price) string {
	amount := func(micros int64) string { return plain(p.Of(micros)) }
	line := "free"
	switch p.Model {
	case marketplace.ModelFree:
	case marketplace.ModelPerRun:
		line = amount(p.PerRun) + " per run"
	case marketplace.ModelPerSecond:
		line = amount(p.PerSecond) + " per second of run time"
	case marketplace.ModelPerEvent:
		var events []string
		if p.PerRun > 0 {
			events = append(events, amount(p.PerRun)+" per run")
		}
		for _, e := range p.Events {
			events = append(events, amount(e.Micros)+" per "+e.Name)
		}
		line = strings.Join(events, " + ")
	case marketplace.ModelSubscription:
		line = amount(p.Monthly) + " per month"
		if p.IncludedRuns > 0 {
			line += fmt.Sprintf(", %d runs included", p.IncludedRuns)
		}
		if p.PerRun > 0 {
			line += ", then " + amount(p.PerRun) + " per run"
		}
	}
	if len(p.Tiers) > 0 {
		line += fmt.Sprintf(", after %d in a month %s", p.Tiers[0].After, amount(p.Tiers[0].Micros))
	}
	if p.MaxPerRun > 0 {
		line += ", at most " + amount(p.MaxPerRun) + " per run"
	}
	return line
}

// plain is an amount without the zeros at its end.
func plain(a money.Amount) string {
	number, currency, _ := strings.Cut(a.String(), " ")
	return strings.TrimSuffix(strings.TrimRight(number, "0"), ".") + " " + currency
}

// position is the cursor of a page of the catalog. It is good for the query that
// it came from only: in another order it would be somewhere else.
type position struct {
	Query string    `json:"q"`
	Tier  int       `json:"t"`
	Key   int64     `json:"k"`
	Agent ids.Agent `json:"a"`
}

// queryPrint identifies what a page is a page of.
func queryPrint(q marketplace.CatalogQuery) string {
	hash := sha256.New()
	for _, part := range []string{q.Text, q.Category, q.Tag, q.Publisher, string(q.Model), string(q.Sort)} {
		fmt.Fprintf(hash, "%d:%s", len(part), part)
	}
	return hex.EncodeToString(hash.Sum(nil)[:8])
}

func encodePosition(q marketplace.CatalogQuery, at marketplace.CatalogCursor) string {
	text, _ := json.Marshal(position{queryPrint(q), at.Tier, at.Key, at.Agent}) // of texts and numbers: cannot fail
	return base64.RawURLEncoding.EncodeToString(text)
}

// decodePosition reads a cursor; the empty one is the first page.
func decodePosition(q marketplace.CatalogQuery, cursor string) (marketplace.CatalogCursor, error) {
	if cursor == "" {
		return marketplace.CatalogCursor{}, nil
	}
	var at position
	text, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	if err == nil {
		err = json.Unmarshal(text, &at)
	}
	if err != nil || at.Query != queryPrint(q) || at.Tier < 0 || at.Tier > 3 || !ids.Valid(ids.PrefixAgent, string(at.Agent)) {
		return marketplace.CatalogCursor{}, fault.New(fault.Invalid, "cursor_invalid", "the cursor is not one of this query").
			WithFields(fault.Field{Pointer: "cursor", Message: "is not a next_cursor of the same words, filters and order"})
	}
	return marketplace.CatalogCursor{Tier: at.Tier, Key: at.Key, Agent: at.Agent}, nil
}
