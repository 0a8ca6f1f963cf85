package api_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/api"
	"agentmarket/marketplace"
)

func (f *fixture) search(token string, query ...string) answer {
	f.t.Helper()
	values := url.Values{}
	for i := 0; i+1 < len(query); i += 2 {
		values.Set(query[i], query[i+1])
	}
	return f.send(http.MethodGet, "/v1/catalog?"+values.Encode(), "", token)
}

func (f *fixture) price(name, body string) {
	f.t.Helper()
	f.requireStatus(http.StatusCreated, f.post("/v1/agents/acme/"+name+"/prices", body))
}

func TestCatalogFilters(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	_, buyer := f.organization("globex")
	for name, change := range map[string]map[string]any{
		"invoices": {"title": "Invoice reader", "categories": []string{"finance"}, "tags": []string{"pdf"}},
		"letters":  {"title": "Letter writer", "categories": []string{"office"}, "tags": []string{"pdf", "text"}},
		"secret":   {"title": "Secret invoice reader", "visibility": "private", "categories": []string{"finance"}, "tags": []string{"pdf"}},
	} {
		f.requireStatus(http.StatusCreated, f.send(http.MethodPut, "/v1/agents/acme/"+name+"/listing", listing(map[string]any{"samples": nil}), ""))
		if name == "invoices" {
			f.price(name, `{"model":"per_run","currency":"USD","per_run_micros":250000}`)
		}
		f.newListing(name, change)
	}
	for query, want := range map[string][]string{
		"":                            {"acme/invoices", "acme/letters"},
		"q=invoice":                   {"acme/invoices"},
		"q=invo+read":                 {"acme/invoices"},
		"q=writer&category=office":    {"acme/letters"},
		"category=finance":            {"acme/invoices"},
		"tag=pdf":                     {"acme/invoices", "acme/letters"},
		"tag=text":                    {"acme/letters"},
		"publisher=acme&tag=text":     {"acme/letters"},
		"publisher=globex":            {},
		"model=per_run":               {"acme/invoices"},
		"model=free":                  {"acme/letters"},
		"category=finance&model=free": {},
	} {
		got := f.send(http.MethodGet, "/v1/catalog?"+query, "", buyer)
		require.NotContains(t, f.requireStatus(http.StatusOK, got), "similar", query)
		require.ElementsMatch(t, want, f.items(got, "agent"), query)
	}
	require.ElementsMatch(t, []string{"acme/invoices", "acme/secret"}, f.items(f.search("", "q", "invoice"), "agent"), "its publisher sees it")
	misspelt := f.search(buyer, "q", "invoise")
	require.Equal(t, true, f.requireStatus(http.StatusOK, misspelt)["similar"])
	require.Equal(t, []string{"acme/invoices"}, f.items(misspelt, "agent"))
	require.Nil(t, misspelt.json(t)["next_cursor"])
}

func TestCatalogItems(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	_, buyer := f.organization("globex")
	f.requireStatus(http.StatusCreated, f.send(http.MethodPut, greeter+"/listing", listing(nil), ""))
	f.price("greeter", `{"model":"per_run","currency":"USD","per_run_micros":250000,"trial":{"runs":3}}`)
	f.publish("1.0.0")
	f.list("greeter", nil)
	f.newListing("preview", nil)

	whole := f.requireStatus(http.StatusOK, f.search(buyer, "q", "greeter"))["items"].([]any)[0].(map[string]any)
	for name, value := range map[string]any{
		"agent": "acme/greeter", "title": "Greeter", "latest": "1.0.0", "model": "per_run", "runs": 0.0, "rating": map[string]any{"count": 0.0},
		"status": "published", "published_at": "2026-11-22T12:00:00Z",
	} {
		require.Equal(t, value, whole[name], name)
	}
	require.EqualValues(t, 250_000, field(whole, "price", "per_run_micros"))
	for _, left := range []string{"readme", "samples", "checks", "permissions", "submitted_at"} {
		require.NotContains(t, whole, left)
	}
	short := map[string]map[string]any{}
	for _, item := range f.requireStatus(http.StatusOK, f.search(buyer, "format", "agent"))["items"].([]any) {
		short[field(item.(map[string]any), "name").(string)] = item.(map[string]any)
	}
	require.Equal(t, map[string]map[string]any{
		"acme/greeter": {
			"name": "acme/greeter", "summary": "Greets whoever asks.", "version": "1.0.0", "model": "per_run", "price": "0.25 USD per run",
			"input_schema": field(f.get(greeter+"/versions/1.0.0").json(t), "manifest", "input_schema"),
			"urls":         map[string]any{"estimate": greeter + "/estimate", "run": greeter + "/runs"},
		},
		"acme/preview": {
			"name": "acme/preview", "summary": "Greets whoever asks.", "model": "free", "price": "free",
			"urls": map[string]any{"estimate": "/v1/agents/acme/preview/estimate", "run": "/v1/agents/acme/preview/runs"},
		},
	}, short)
}

// TestCatalogPages: pages show everything once, in every order, whatever is
// published meanwhile, and a cursor is of its own query only.
func TestCatalogPages(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(s *api.Server) { s.Policy.ReviewListings = false })
	var all []string
	for i := range 7 {
		f.clock.advance(time.Second)
		f.newListing(fmt.Sprint("agent-", i), map[string]any{"title": "Reader"})
		all = append([]string{fmt.Sprint("acme/agent-", i)}, all...)
	}
	for _, order := range []string{"relevance", "newest", "most_used", "best_rated"} {
		for _, words := range []string{"", "reader"} {
			query := []string{"q", words, "sort", order, "limit", "3"}
			var seen []string
			cursor := ""
			for n := 0; ; n++ {
				got := f.search("", append(query, "cursor", cursor)...)
				seen = append(seen, f.items(got, "agent")...)
				next, more := got.json(t)["next_cursor"].(string)
				if !more {
					break
				}
				cursor = next
				require.Less(t, n, 3)
				if n == 0 && order == "newest" && words == "" {
					f.clock.advance(time.Second)
					f.newListing("latecomer", map[string]any{"title": "Latecomer"})
				}
			}
			if words == "" && order != "newest" {
				seen = slices.DeleteFunc(seen, func(name string) bool { return name == "acme/latecomer" })
			}
			require.Equal(t, all, seen, "%s %q", order, words)
		}
	}

	first := f.requireStatus(http.StatusOK, f.search("", "q", "reader", "limit", "3"))["next_cursor"].(string)
	f.requireStatus(http.StatusOK, f.search("", "q", "reader", "limit", "2", "format", "agent", "cursor", first))
	for _, other := range [][]string{
		{"q", "readers"}, {}, {"q", "reader", "sort", "newest"}, {"q", "reader", "category", "office"}, {"q", "reader", "tag", "demo"},
		{"q", "reader", "publisher", "acme"}, {"q", "reader", "model", "free"},
	} {
		f.requireCode(http.StatusUnprocessableEntity, "cursor_invalid", f.search("", append(other, "cursor", first)...), "cursor")
	}
	forged := func(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }
	known, err := base64.RawURLEncoding.DecodeString(first)
	require.NoError(t, err)
	for _, bad := range []string{
		"x", "!", first + "=", forged("{}"), forged("null"), forged("[1]"), forged(`{"q":1}`),
		forged(strings.Replace(string(known), `"t":3`, `"t":4`, 1)), forged(strings.Replace(string(known), "agt_", "run_", 1)),
	} {
		f.requireCode(http.StatusUnprocessableEntity, "cursor_invalid", f.search("", "q", "reader", "cursor", bad), "cursor")
	}
}

func TestBadSearches(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	long := strings.Repeat("x", 201)
	for _, tc := range []struct{ name, value string }{
		{"q", long}, {"category", long[:41]}, {"tag", long[:41]}, {"publisher", long[:41]}, {"model", "gratis"}, {"sort", "best"},
		{"format", "xml"}, {"limit", "0"}, {"limit", "101"}, {"limit", "many"}, {"cursor", long}, {"page", "2"},
	} {
		f.requireCode(http.StatusUnprocessableEntity, "request_invalid", f.search("", tc.name, tc.value), tc.name)
	}
	for _, odd := range []string{"%", "'; DROP TABLE listings; --", "\"\"*^-", "NEAR(", "\U0001F600", strings.Repeat("a ", 100)} {
		require.Empty(t, f.items(f.search("", "q", odd), "agent"), odd)
	}
	require.Empty(t, f.items(f.search("", "category", "no such one", "tag", "A"), "agent"))
}

// TestPriceLines words prices for programs that show them.
func TestPriceLines(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for i, tc := range []struct{ price, line string }{
		{`"model":"free"`, "free"},
		{`"model":"per_run","per_run_micros":1`, "0.000001 USD per run"},
		{`"model":"per_run","per_run_micros":10000000,"tiers":[{"after":100,"amount_micros":9500000}]`,
			"10 USD per run, after 100 in a month 9.5 USD"},
		{`"model":"per_second","per_second_micros":1500,"max_per_run_micros":2000000`,
			"0.0015 USD per second of run time, at most 2 USD per run"},
		{`"model":"per_event","per_run_micros":100000,"events":[{"name":"page","title":"A page","amount_micros":10000}],"max_per_run_micros":1000000`,
			"0.1 USD per run + 0.01 USD per page, at most 1 USD per run"},
		{`"model":"subscription","monthly_micros":20000000`, "20 USD per month"},
		{`"model":"subscription","monthly_micros":20000000,"included_runs":100,"per_run_micros":250000`,
			"20 USD per month, 100 runs included, then 0.25 USD per run"},
	} {
		name := fmt.Sprint("agent-", i)
		f.requireStatus(http.StatusCreated, f.send(http.MethodPut, "/v1/agents/acme/"+name+"/listing", listing(map[string]any{"samples": nil}), ""))
		f.price(name, `{"currency":"USD",`+tc.price+`}`)
		f.newListing(name, map[string]any{"visibility": string(marketplace.VisibilityOrganization), "title": name})
		items := f.requireStatus(http.StatusOK, f.search("", "q", name, "format", "agent"))["items"].([]any)
		require.Equal(t, tc.line, field(items[0].(map[string]any), "price"))
	}
}
