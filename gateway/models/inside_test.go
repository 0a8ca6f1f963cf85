package models

import (
	"context"
	"encoding/json"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"agentmarket/ids"
	"agentmarket/money"
)

// FuzzRewrite: whatever an agent writes, what is sent is the model that was granted,
// with the bounds that were reserved, and nothing of what is set here is the agent's.
func FuzzRewrite(f *testing.F) {
	for _, seed := range []string{
		`{"model":"m","messages":[{"role":"user","content":"hi"}]}`,
		`{"model":"m","n":3,"max_tokens":9,"stream":true,"stream_options":{"include_usage":true},"user":"u","store":true,"metadata":{},"messages":[{}]}`,
		`{"model":"m","messages":[{"content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,AA"}}]}],"x":1e999}`,
		`{"model":"m","Model":"n","messages":[{}]}`, `{"model":"m","model":"n"}`, `[[[[`, "{\"\xff\":1}",
	} {
		f.Add([]byte(seed))
	}
	model := Model{Name: "m", Upstream: "lab", UpstreamName: "lab-m", Currency: "USD", MaxOutputTokens: 1000}
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := parse(text)
		if err != nil {
			require.NotEqual(t, http.StatusInternalServerError, refusalOf(err).status)
			return
		}
		require.True(t, r.choices >= 1 && r.choices <= maxChoices)
		require.GreaterOrEqual(t, r.most, int64(0))
		body, err := r.encode(model, "org_1", 77)
		require.NoError(t, err)
		require.LessOrEqual(t, r.media.bytes, int64(len(body)))
		require.NoError(t, checkShape(body))
		var sent map[string]any
		decoder := json.NewDecoder(strings.NewReader(string(body)))
		decoder.UseNumber()
		require.NoError(t, decoder.Decode(&sent))
		require.Equal(t, "lab-m", sent["model"])
		require.Equal(t, pseudonym("org_1"), sent["user"])
		require.Equal(t, json.Number("77"), sent[fieldMaxCompletionTokens])
		for name := range sent {
			for _, mine := range ours {
				require.True(t, name == mine || !strings.EqualFold(name, mine), name)
			}
			for _, not := range refused {
				require.False(t, strings.EqualFold(name, not), name)
			}
		}
		for _, name := range []string{"store", "metadata", fieldMaxTokens, "service_tier"} {
			require.NotContains(t, sent, name)
		}
		_, streamed := sent["stream"]
		require.Equal(t, r.stream, streamed)
		_, several := sent["n"]
		require.Equal(t, r.choices > 1, several)
	})
}

// FuzzUsage: whatever an upstream streams, the count stays within bounds, and nothing
// but data reaches the agent.
func FuzzUsage(f *testing.F) {
	for _, seed := range []string{
		"data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\ndata: {\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}\n\ndata: [DONE]\n\n",
		": hi\n\ndata: {}\r\n\r\n", "data: {\"usage\":{\"prompt_tokens\":-1,\"completion_tokens\":1e30}}\n\n",
		"data: {\"error\":{}}\n\n", "data\ndata:\n\n", "data: {\"choices\":\ndata: []}\n\n", "data: null\n\n", "event: x\nid: 7\nretry: 1\n\n",
	} {
		f.Add([]byte(seed), true)
	}
	f.Fuzz(func(t *testing.T, text []byte, wanted bool) {
		c := &call{request: request{usage: wanted}, bound: bound{bytes: 300, input: 556, output: 50}, tally: tally{sent: true}}
		out := httptest.NewRecorder()
		err := c.relay(newEvents(&bounded{strings.NewReader(string(text)), 1 << 20}), newStream(out), func() {})
		used, partial := c.tally.usage(c.bound)
		require.True(t, used.input >= 0 && used.input <= maxTokens)
		require.True(t, used.output >= 0 && used.output <= maxTokens)
		require.LessOrEqual(t, c.tally.surely(), c.bound.output)
		if c.tally.reported == nil {
			require.True(t, partial)
			require.LessOrEqual(t, used.output, c.bound.output)
		}
		if err == nil {
			require.True(t, c.tally.whole)
		}
		for line := range strings.Lines(out.Body.String()) {
			line = strings.TrimSuffix(line, "\n")
			data, isData := strings.CutPrefix(line, "data: ")
			require.True(t, line == "" || line == ":" || isData && json.Valid([]byte(data)), "%q", line)
		}
	})
}

func TestCost(t *testing.T) {
	m := Model{Currency: "EUR", InputPrice: 150_000, OutputPrice: 600_000}
	for _, test := range []struct{ input, output, want int64 }{
		{0, 0, 0}, {1, 0, 1}, {1, 1, 1}, {6, 0, 1}, {7, 0, 2}, {1_000_000, 1_000_000, 750_000}, {-5, 10, 6},
	} {
		require.Equal(t, money.Of(test.want, "EUR"), m.cost(test.input, test.output), test)
	}
	dear := Model{Currency: "EUR", InputPrice: maxPrice, OutputPrice: maxPrice}
	require.EqualValues(t, 200_000_000_000_000, dear.cost(maxTokens, maxTokens).Micros)
	require.Equal(t, 3*int64(maxPrice)/tokensPerPrice, dear.cost(1, 2).Micros)
	require.Equal(t, int64(money.MaxMicros), Model{InputPrice: maxPrice}.cost(math.MaxInt64, math.MaxInt64).Micros)
}

func TestAffordable(t *testing.T) {
	m := Model{Currency: "EUR", InputPrice: 150_000, OutputPrice: 600_000}
	for amount := int64(0); amount < 300; amount++ {
		for choices := int64(1); choices <= maxChoices; choices++ {
			got := m.affordable(money.Of(amount, "EUR"), 100, choices, 90)
			require.True(t, got == 0 || m.cost(100, choices*got).Micros <= amount)
			require.True(t, got == 90 || m.cost(100, choices*(got+1)).Micros > amount)
		}
	}
	require.EqualValues(t, 90, Model{}.affordable(money.Amount{}, 100, 4, 90), "what costs nothing")
}

func TestConfig(t *testing.T) {
	key := func(context.Context, Session) (string, error) { return "", nil }
	sound := func() Config {
		return Config{
			Session: func(*http.Request) (Session, error) { return Session{}, nil }, Meter: noMeter{}, Client: http.DefaultClient,
			Log: slog.New(slog.DiscardHandler), Upstreams: []Upstream{{Name: "lab", BaseURL: "https://lab.example.com/v1", Key: key}},
			Catalog: []Model{{Name: "m", Upstream: "lab", UpstreamName: "lab-m", Currency: "USD", MaxOutputTokens: 1}},
		}
	}
	_, err := New(sound())
	require.NoError(t, err)
	for name, change := range map[string]func(*Config){
		"no meter":           func(c *Config) { c.Meter = nil },
		"negative time":      func(c *Config) { c.CallTimeout = -1 },
		"model twice":        func(c *Config) { c.Catalog = append(c.Catalog, c.Catalog[0]) },
		"model's name":       func(c *Config) { c.Catalog[0].Name = "a b" },
		"no upstream":        func(c *Config) { c.Catalog[0].Upstream = "other" },
		"no upstream's name": func(c *Config) { c.Catalog[0].UpstreamName = "" },
		"currency":           func(c *Config) { c.Catalog[0].Currency = "usd" },
		"negative price":     func(c *Config) { c.Catalog[0].OutputPrice = -1 },
		"large price":        func(c *Config) { c.Catalog[0].InputPrice = maxPrice + 1 },
		"no output":          func(c *Config) { c.Catalog[0].MaxOutputTokens = 0 },
		"large output":       func(c *Config) { c.Catalog[0].MaxOutputTokens = maxTokens },
		"large parts":        func(c *Config) { c.Catalog[0].PartTokens = maxTokens },
		"upstream twice":     func(c *Config) { c.Upstreams = append(c.Upstreams, c.Upstreams[0]) },
		"a key in the URL":   func(c *Config) { c.Upstreams[0].BaseURL = "https://user:key@lab.example.com" },
		"a query":            func(c *Config) { c.Upstreams[0].BaseURL += "?key=1" },
		"another scheme":     func(c *Config) { c.Upstreams[0].BaseURL = "file:///etc" },
		"no key":             func(c *Config) { c.Upstreams[0].Key = nil },
	} {
		c := sound()
		change(&c)
		_, err := New(c)
		require.Error(t, err, name)
	}
}

type noMeter struct{}

func (noMeter) Reserve(context.Context, Reservation) (money.Amount, error) {
	return money.Amount{}, nil
}

func (noMeter) Settle(context.Context, ids.Run, string, Usage) error { return nil }
