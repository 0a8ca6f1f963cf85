package models_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/openai/openai-go/v3"
	"github.com/stretchr/testify/require"

	"agentmarket/gateway/models"
	"agentmarket/money"
)

const streamed = `{"model":"small","stream":true,"messages":[{"role":"user","content":"hi"}]}`

func TestStream(t *testing.T) {
	hold := make(chan struct{})
	w := newWorld(t, 1_000_000, streams(hold, chunk("hel"), chunk("lo"), usageChunk(9, 2), "[DONE]"))
	got := w.agent().Chat.Completions.NewStreaming(t.Context(), ask("hi"))
	var text strings.Builder
	for got.Next() {
		require.NotEmpty(t, got.Current().Choices, "what was used was not asked for")
		if text.WriteString(got.Current().Choices[0].Delta.Content); text.String() == "hello" {
			close(hold) // what came arrives before the stream ends
		}
	}
	require.NoError(t, got.Err())
	require.Equal(t, "hello", text.String())
	require.Equal(t, map[string]any{"include_usage": true}, w.last(t).body["stream_options"])
	require.Equal(t, "text/event-stream", w.last(t).header.Get("Accept"))
	require.Equal(t, models.Usage{Attempt: 2, Model: "small", InputTokens: 9, OutputTokens: 2, Cost: money.Of(13, "USD")}, w.meter.usage(t))
}

// TestStreamUsage: whoever asks for what was used gets it.
func TestStreamUsage(t *testing.T) {
	w := newWorld(t, 1_000_000, streams(nil, chunk("hello"), usageChunk(9, 2), "[DONE]"))
	params := ask("hi")
	params.StreamOptions = openai.ChatCompletionStreamOptionsParam{IncludeUsage: openai.Bool(true)}
	got := w.agent().Chat.Completions.NewStreaming(t.Context(), params)
	var used int64
	for got.Next() {
		used = got.Current().Usage.CompletionTokens
	}
	require.NoError(t, got.Err())
	require.EqualValues(t, 2, used)
}

// TestStreamEnds: however a stream ends, it is settled once, and the agent can tell.
func TestStreamEnds(t *testing.T) {
	endless := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for r.Context().Err() == nil {
			_, _ = w.Write([]byte("data: " + chunk("x") + "\n\n"))
			_ = http.NewResponseController(w).Flush()
		}
	}
	silent := func(w http.ResponseWriter, r *http.Request) {
		streams(nil, chunk("abcdefg"))(w, r)
		<-r.Context().Done()
	}
	raw := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = w.Write([]byte(text))
		}
	}
	const input = 65 // a third of the body, rounded up
	for name, test := range map[string]struct {
		answers http.HandlerFunc
		budget  int64
		code    string // of the last event; empty: the end is a good one
		output  int64
		exact   bool
	}{
		"no usage":             {streams(nil, chunk("abcdefg"), "[DONE]"), 1e6, "", 3, false},
		"broken":               {streams(nil, chunk("abcdefg")), 1e6, "upstream_broken", 3, false},
		"usage and no end":     {streams(nil, chunk("abcdefg"), usageChunk(input, 2)), 1e6, "", 2, true},
		"usage as it goes":     {streams(nil, strings.Replace(chunk("abcdefg"), `null`, `{"prompt_tokens":65,"completion_tokens":5}`, 1)), 1e6, "", 5, true},
		"nonsense usage":       {streams(nil, chunk("a"), `{"choices":[],"usage":{"prompt_tokens":-1,"completion_tokens":"x"}}`, "[DONE]"), 1e6, "", 1, false},
		"more than it may say": {endless, 0, "budget_exhausted", 100, false},
		"long tokens":          {streams(nil, chunk(strings.Repeat("x", 4000)), "[DONE]"), 0, "budget_exhausted", 0, false},
		"no JSON":              {streams(nil, chunk("abcdefg"), "hello", "[DONE]"), 1e6, "upstream_misbehaved", 3, false},
		"an error":             {streams(nil, chunk("abcdefg"), `{"error":{"message":"`+upstreamKey+`"}}`), 1e6, "upstream_failed", 3, false},
		"a long event":         {raw("data: " + chunk("abcdefg") + "\n\ndata: " + strings.Repeat("x", 2<<20)), 1e6, "upstream_misbehaved", 3, false},
		"silence":              {silent, 1e6, "upstream_timeout", 3, false},
		"comments and CRLF":    {raw(": wait\r\n\r\nevent: x\r\ndata: {\"choices\":[{\"delta\":\r\ndata: {\"content\":\"abcdefg\"}}]}\r\n\r\ndata: [DONE]\r\n\r\n"), 1e6, "", 3, false},
	} {
		t.Run(name, func(t *testing.T) {
			if test.budget == 0 { // for 100 output tokens
				probe := newWorld(t, 1e6, streams(nil, "[DONE]"))
				probe.post(t, streamed)
				for _, r := range probe.meter.reserved {
					test.budget = r.Most.Micros - 2*1000 + 2*100
				}
			}
			w := newWorld(t, test.budget, test.answers, func(c *models.Config) { c.SilenceTimeout = 200 * time.Millisecond })
			_, body := w.post(t, streamed)
			last := strings.TrimSuffix(body[strings.LastIndex("\n\n"+strings.TrimSuffix(body, "\n\n"), "\n\n"):], "\n\n")
			last = strings.TrimPrefix(last, "data: ")
			if test.code == "" {
				require.Equal(t, "[DONE]", last)
			} else {
				code, _ := errorOf(t, last)
				require.Equal(t, test.code, code)
				require.NotContains(t, body, "[DONE]")
			}
			require.NotContains(t, body, upstreamKey)
			u := w.meter.usage(t)
			require.Equal(t, test.output, u.OutputTokens)
			require.EqualValues(t, input, u.InputTokens)
			require.Equal(t, input+2*test.output, u.Cost.Micros)
			require.Equal(t, !test.exact, u.Partial)
		})
	}
}

// TestStreamErrorReachesClient: OpenAI's client reports a stream that was cut.
func TestStreamErrorReachesClient(t *testing.T) {
	w := newWorld(t, 1e6, streams(nil, chunk("abc")))
	got := w.agent().Chat.Completions.NewStreaming(t.Context(), ask("hi"))
	require.True(t, got.Next())
	require.False(t, got.Next())
	require.ErrorContains(t, got.Err(), "upstream_broken")
}

// TestAgentGoes: an agent that hangs up ends its stream, and pays once for what it got.
func TestAgentGoes(t *testing.T) {
	gone := make(chan struct{})
	w := newWorld(t, 1e6, func(out http.ResponseWriter, r *http.Request) {
		streams(nil, chunk("abcdefg"))(out, r)
		<-r.Context().Done()
		close(gone)
	})
	ctx, hangUp := context.WithCancel(t.Context())
	got := w.agent().Chat.Completions.NewStreaming(ctx, ask("hi"))
	require.True(t, got.Next())
	hangUp()
	select {
	case <-gone:
	case <-time.After(10 * time.Second):
		require.Fail(t, "the upstream goes on")
	}
	u := w.eventually(t)
	require.True(t, u.Partial)
	require.EqualValues(t, 3, u.OutputTokens)
}

// TestAgentGoesFromWhole: what is not streamed is read to its end.
func TestAgentGoesFromWhole(t *testing.T) {
	ctx, hangUp := context.WithCancel(t.Context())
	answering := make(chan struct{})
	w := newWorld(t, 1e6, func(out http.ResponseWriter, r *http.Request) {
		hangUp()
		<-answering
		says("hello", 11, 4)(out, r)
	})
	_, err := w.agent().Chat.Completions.New(ctx, ask("hi"))
	require.ErrorIs(t, err, context.Canceled)
	close(answering)
	u := w.eventually(t)
	require.False(t, u.Partial)
	require.EqualValues(t, 11+2*4, u.Cost.Micros)
}

// TestSettleIsRepeated: a meter that is away for a moment gets it all the same.
func TestSettleIsRepeated(t *testing.T) {
	w := newWorld(t, 1e6, says("hello", 11, 4))
	w.meter.fail = 2
	_, err := w.agent().Chat.Completions.New(t.Context(), ask("hi"))
	require.NoError(t, err)
	require.EqualValues(t, 19, w.meter.usage(t).Cost.Micros)

	w.meter.fail = 3
	_, err = w.agent().Chat.Completions.New(t.Context(), ask("hi"))
	require.NoError(t, err, "the agent gets what was paid for")
	require.True(t, w.meter.waits(), "the reservation keeps its room")
	require.Contains(t, w.logged.String(), "left until its reservation expires")
}
