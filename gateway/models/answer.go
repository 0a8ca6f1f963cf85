package models

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"
)

// writeTimeout is how long an agent may take to read what is written to it at once.
const writeTimeout = 30 * time.Second

// answer answers a call that is not streamed.
func (c *call) answer(ctx context.Context, w http.ResponseWriter) error {
	response, err := c.send(ctx)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, c.e.MaxResponseBytes+1))
	var said answer
	switch {
	case err != nil:
		return c.broken(ctx, err)
	case int64(len(text)) > c.e.MaxResponseBytes:
		c.tally = c.tally.with(0, int64(len(text)))
		return c.misbehaved("too long an answer")
	case !hasType(response, "application/json") || json.Unmarshal(text, &said) != nil || len(said.Choices) == 0 || !isNull(said.Error):
		c.tally.reported = parseUsage(said.Usage)
		return c.misbehaved("what is no completion")
	}
	c.tally.reported, c.tally.whole = parseUsage(said.Usage), true
	c.tally = c.tally.with(said.said())
	c.settle(ctx)
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTimeout))
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(text) // whoever hangs up misses the answer
	return nil
}

// misbehaved refuses what the upstream answers.
func (c *call) misbehaved(with string) refusal {
	return refusal{status: http.StatusBadGateway, code: "upstream_misbehaved", message: "the server of the model did not answer as it should",
		cause: fmt.Errorf("upstream %s answers with %s", c.upstream.Name, with)}
}

// hasType reports whether an answer is of a media type.
func hasType(response *http.Response, want string) bool {
	media, _, err := mime.ParseMediaType(response.Header.Get("Content-Type"))
	return err == nil && strings.EqualFold(media, want)
}

// errTooMuch ends a stream that is longer than an answer may be.
var errTooMuch = errors.New("the answer is too long")

// bounded reads so many bytes and no more: more is errTooMuch.
type bounded struct {
	from io.Reader
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errTooMuch
	}
	if int64(len(p)) > b.left {
		p = p[:b.left]
	}
	n, err := b.from.Read(p)
	b.left -= int64(n)
	return n, err
}
