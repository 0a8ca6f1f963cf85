package models

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
)

const (
	maxErrorBody  = 64 << 10
	maxErrorText  = 500
	maxRetryAfter = 3600
)

// send calls the upstream. What it returns has the status 200; close its body. Everything
// else is a refusal that tells nothing of the upstream's key, address and owner.
func (c *call) send(ctx context.Context) (*http.Response, error) {
	var written atomic.Bool
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteRequest: func(i httptrace.WroteRequestInfo) { written.Store(i.Err == nil) }})
	at := strings.TrimSuffix(c.upstream.BaseURL, "/") + "/chat/completions"
	request, err := http.NewRequestWithContext(traced, http.MethodPost, at, bytes.NewReader(c.body))
	if err != nil {
		return nil, misconfigured(err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Accept", "application/json")
	if c.request.stream {
		request.Header.Set("Accept", "text/event-stream")
	}
	request.Header.Set("User-Agent", "agentmarket")
	if c.secret != "" {
		request.Header.Set("Authorization", "Bearer "+c.secret)
	}
	response, err := c.e.Client.Do(request)
	if err != nil {
		c.tally.sent = written.Load()
		return nil, c.broken(ctx, err)
	}
	if response.StatusCode == http.StatusOK {
		c.tally.sent = true
		return response, nil
	}
	defer response.Body.Close() // what is refused costs nothing
	return nil, c.refused(response)
}

func misconfigured(cause error) refusal {
	return refusal{status: http.StatusBadGateway, code: "upstream_misconfigured",
		message: "the server of the model is not set up correctly; this is not the agent's fault", cause: cause}
}

// broken says why a call has no answer, or no end of it.
func (c *call) broken(ctx context.Context, err error) refusal {
	cause := context.Cause(ctx)
	r := refusal{status: http.StatusBadGateway, code: "upstream_unreachable", message: "the server of the model cannot be reached", cause: err}
	switch {
	case errors.Is(cause, errCallTimeout) || errors.Is(cause, errSilence):
		r.status, r.code, r.message, r.cause = http.StatusGatewayTimeout, "upstream_timeout", "the server of the model took too long", cause
	case errors.Is(cause, errSessionEnded):
		r.status, r.code, r.message, r.cause = http.StatusConflict, "session_closed", "the run does not go on", cause
	case c.tally.sent:
		r.code, r.message = "upstream_broken", "the server of the model did not finish its answer"
	}
	return r
}

// refused translates an answer that is no success.
func (c *call) refused(response *http.Response) refusal {
	status := response.StatusCode
	cause := fmt.Errorf("upstream %s answers %d", c.upstream.Name, status)
	switch {
	case status == http.StatusTooManyRequests:
		return refusal{status: status, code: "upstream_rate_limited", message: "the server of the model takes no more calls at the moment; try again later",
			retryAfter: retryAfter(response.Header.Get("Retry-After")), cause: cause}
	case status >= http.StatusInternalServerError:
		return refusal{status: http.StatusBadGateway, code: "upstream_failed", message: "the server of the model failed; try again", cause: cause}
	case status == http.StatusBadRequest || status == http.StatusUnprocessableEntity || status == http.StatusRequestEntityTooLarge:
		r := c.complaint(response.Body, c.secret)
		r.status, r.cause = status, cause
		if status == http.StatusUnprocessableEntity {
			r.status = http.StatusBadRequest
		}
		return r
	case c.own && (status == http.StatusUnauthorized || status == http.StatusForbidden || status == http.StatusPaymentRequired):
		return refusal{status: http.StatusBadGateway, code: "own_key_refused",
			message: "the server of the model refuses the key of the organization whose run it is", cause: cause}
	default: // the key, the name of the model, the address: an operator's business
		return misconfigured(cause)
	}
}

// retryAfter is a number of seconds; a time is not passed on.
func retryAfter(text string) int {
	seconds, err := strconv.Atoi(text)
	if err != nil || seconds < 0 {
		return 0
	}
	return min(seconds, maxRetryAfter)
}

var plainWord = regexp.MustCompile(`^[A-Za-z0-9_.\[\]-]{1,64}$`)

// complaint reads what is wrong with a request, in the upstream's words.
func (c *call) complaint(body io.Reader, key string) refusal {
	r := refusal{code: "upstream_refused", message: "the server of the model refused the request"}
	text, err := io.ReadAll(io.LimitReader(body, maxErrorBody))
	if err != nil {
		return r
	}
	var said struct {
		Error struct {
			Message, Type, Param, Code any
		} `json:"error"`
	}
	if json.Unmarshal(text, &said) != nil {
		return r
	}
	if message, ok := said.Error.Message.(string); ok && message != "" {
		r.message = c.redact(message, key)
	}
	for into, value := range map[*string]any{&r.kind: said.Error.Type, &r.param: said.Error.Param, &r.code: said.Error.Code} {
		if name, ok := value.(string); ok && plainWord.MatchString(name) && c.redact(name, key) == name {
			*into = name
		}
	}
	return r
}

// identifying are parts of a text that say whose upstream it is, or where.
var identifying = regexp.MustCompile(`(?i)\b[a-z][a-z0-9+.-]*://[^\s"'<>]+|\b(sk|pk|org|proj|user|key|req|acct)[-_][A-Za-z0-9*_-]{6,}|\bbearer\s+\S+`)

// redact makes a text of the upstream one for agents.
func (c *call) redact(text, key string) string {
	const hidden = "[…]"
	if key != "" {
		text = strings.ReplaceAll(text, key, hidden)
	}
	if at, err := url.Parse(c.upstream.BaseURL); err == nil {
		text = strings.ReplaceAll(text, at.Host, hidden)
		text = strings.ReplaceAll(text, at.Hostname(), hidden)
	}
	text = strings.ToValidUTF8(identifying.ReplaceAllString(text, hidden), "")
	if len(text) > maxErrorText {
		text = strings.ToValidUTF8(text[:maxErrorText], "") + "…"
	}
	return text
}
