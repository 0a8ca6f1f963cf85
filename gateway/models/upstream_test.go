package models_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/openai/openai-go/v3/option"
	"github.com/stretchr/testify/require"

	"agentmarket/fault"
	"agentmarket/gateway/models"
)

// captured keeps the answer as it came.
func captured(into **http.Response) option.RequestOption { return option.WithResponseInto(into) }

// TestUpstreamErrors: nothing of an upstream's error tells whose it is and where.
func TestUpstreamErrors(t *testing.T) {
	const told = `{"error":{"message":"bad key ` + upstreamKey + ` of org-AbCdEf123456 in proj_abc123def, see https://lab.example.com/keys?x=1 or 127.0.0.1","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}`
	for name, test := range map[string]struct {
		answers    http.HandlerFunc
		status     int
		code       string
		retryAfter string
	}{
		"bad request":  {refuses(400, told), 400, "context_length_exceeded", ""},
		"invalid":      {refuses(422, told), 400, "context_length_exceeded", ""},
		"too large":    {refuses(413, `<html>`), 413, "upstream_refused", ""},
		"strange":      {refuses(400, `{"error":{"message":7,"type":{},"code":400}}`), 400, "upstream_refused", ""},
		"secret code":  {refuses(400, `{"error":{"message":"m","code":"`+upstreamKey+`","type":"org-AbCdEf123456"}}`), 400, "upstream_refused", ""},
		"bad key":      {refuses(401, told), 502, "upstream_misconfigured", ""},
		"no money":     {refuses(402, told), 502, "upstream_misconfigured", ""},
		"forbidden":    {refuses(403, told), 502, "upstream_misconfigured", ""},
		"no model":     {refuses(404, told), 502, "upstream_misconfigured", ""},
		"rate limited": {refuses(429, told), 429, "upstream_rate_limited", "7"},
		"failed":       {refuses(500, told), 502, "upstream_failed", ""},
		"overloaded":   {refuses(529, told), 502, "upstream_failed", ""},
		"redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		}, 502, "upstream_misconfigured", ""},
	} {
		t.Run(name, func(t *testing.T) {
			for _, stream := range []string{"false", "true"} {
				w := newWorld(t, 100_000, test.answers)
				response, body := w.post(t, `{"model":"small","stream":`+stream+`,"messages":[{"role":"user","content":"hi"}]}`)
				require.Equal(t, test.status, response.StatusCode, body)
				code, _ := errorOf(t, body)
				require.Equal(t, test.code, code)
				require.Equal(t, test.retryAfter, response.Header.Get("Retry-After"))
				for _, secret := range []string{upstreamKey, "org-AbCdEf123456", "proj_abc123def", "lab.example.com", "127.0.0.1", "lab-small"} {
					require.NotContains(t, body, secret)
				}
				require.NotContains(t, w.logged.String(), upstreamKey)
				require.Equal(t, 1, w.calls(), "nothing is asked twice")
				require.Equal(t, "application/json", response.Header.Get("Content-Type"))
				u := w.meter.usage(t)
				require.Zero(t, u.Cost.Micros, "what is refused costs nothing")
				require.False(t, u.Partial)
				require.EqualValues(t, 100_000, w.meter.left)
			}
		})
	}
}

func TestUpstreamMisbehaves(t *testing.T) {
	whole := func(contentType, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", contentType)
			_, _ = w.Write([]byte(body))
		}
	}
	for name, answers := range map[string]http.HandlerFunc{
		"no JSON":         whole("text/html", "<html>"+upstreamKey),
		"broken JSON":     whole("application/json", `{"choices":[{`),
		"no choices":      whole("application/json", `{"ok":true}`),
		"an error as 200": whole("application/json", `{"choices":[{}],"error":{"message":"`+upstreamKey+`"}}`),
		"too long":        whole("application/json", `{"choices":[{"message":{"content":"`+strings.Repeat("x", 5000)+`"}}]}`),
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 100_000, answers, func(c *models.Config) { c.MaxResponseBytes = 4096 })
			response, body := w.post(t, `{"model":"small","messages":[{"role":"user","content":"hi"}]}`)
			require.Equal(t, http.StatusBadGateway, response.StatusCode, body)
			code, _ := errorOf(t, body)
			require.Equal(t, "upstream_misbehaved", code)
			require.NotContains(t, body, upstreamKey)
			u := w.meter.usage(t)
			require.True(t, u.Partial)
			require.Positive(t, u.Cost.Micros, "the upstream has worked")
		})
	}
}

func TestUpstreamAway(t *testing.T) {
	body := `{"model":"small","messages":[{"role":"user","content":"hi"}]}`
	t.Run("nobody listens", func(t *testing.T) {
		w := newWorld(t, 100_000, nil, func(c *models.Config) { c.Upstreams[0].BaseURL = "http://127.0.0.1:1" })
		response, text := w.post(t, body)
		code, _ := errorOf(t, text)
		require.Equal(t, http.StatusBadGateway, response.StatusCode)
		require.Equal(t, "upstream_unreachable", code)
		require.Zero(t, w.meter.usage(t).Cost.Micros)
	})
	t.Run("it hangs up", func(t *testing.T) {
		w := newWorld(t, 100_000, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
		_, text := w.post(t, body)
		code, _ := errorOf(t, text)
		require.Equal(t, "upstream_broken", code)
		require.True(t, w.meter.usage(t).Partial)
	})
	t.Run("it takes too long", func(t *testing.T) {
		w := newWorld(t, 100_000, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
			func(c *models.Config) { c.CallTimeout = 50 * time.Millisecond })
		response, text := w.post(t, body)
		code, _ := errorOf(t, text)
		require.Equal(t, http.StatusGatewayTimeout, response.StatusCode)
		require.Equal(t, "upstream_timeout", code)
		u := w.meter.usage(t)
		require.True(t, u.Partial)
		require.Positive(t, u.InputTokens)
	})
	t.Run("its key is not there", func(t *testing.T) {
		w := newWorld(t, 100_000, nil, func(c *models.Config) {
			c.Upstreams[0].Key = func(context.Context, models.Session) (string, error) { return "", errors.New("the vault is sealed") }
		})
		_, text := w.post(t, body)
		code, _ := errorOf(t, text)
		require.Equal(t, "upstream_misconfigured", code)
		require.NotContains(t, text, "vault")
		require.Contains(t, w.logged.String(), "vault")
	})
	t.Run("the session ends", func(t *testing.T) {
		begun := make(chan struct{})
		w := newWorld(t, 100_000, func(_ http.ResponseWriter, r *http.Request) { close(begun); <-r.Context().Done() })
		go func() { <-begun; close(w.ended) }()
		_, text := w.post(t, body)
		code, _ := errorOf(t, text)
		require.Equal(t, "session_closed", code)
		require.True(t, w.meter.usage(t).Partial)
	})
}

// TestSessionErrors: OpenAI's clients read the faults of sessions and of the meter.
func TestSessionErrors(t *testing.T) {
	for kind, want := range map[fault.Kind]struct {
		status     int
		code, sort string
	}{
		fault.Unauthenticated: {401, "some_code", "authentication_error"},
		fault.Forbidden:       {403, "some_code", "permission_error"},
		fault.Conflict:        {409, "some_code", "invalid_request_error"},
		fault.RateLimited:     {429, "some_code", "rate_limit_error"},
		fault.Unavailable:     {503, "unavailable", "server_error"},
		fault.Internal:        {500, "internal", "server_error"},
	} {
		t.Run(string(kind), func(t *testing.T) {
			w := newWorld(t, 0, nil, func(c *models.Config) {
				c.Session = func(*http.Request) (models.Session, error) {
					return models.Session{}, fault.New(kind, "some_code", "row 17 of table x")
				}
			})
			_, err := w.agent().Chat.Completions.New(t.Context(), ask("hi"))
			e := refusedWith(t, err, want.status, want.code)
			require.Equal(t, want.sort, e.Type)
			if kind == fault.Internal || kind == fault.Unavailable {
				require.NotContains(t, e.Message, "table")
			}
		})
	}
}
