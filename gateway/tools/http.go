package tools

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"time"

	"agentmarket/fault"
)

const (
	maxBody     = 1 << 20
	bodyTimeout = 30 * time.Second
)

// readWhole reads the body of a request, whoever sends it slowly, and puts it back. One
// request is one message: a batch would be many calls at once.
func readWhole(w http.ResponseWriter, r *http.Request) error {
	connection := http.NewResponseController(w)
	_ = connection.SetReadDeadline(time.Now().Add(bodyTimeout)) // tests have no connection
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return fault.Newf(fault.TooLarge, "body_too_large", "the body has more than %d bytes", maxBody)
	case err != nil:
		return fault.Wrap(fault.Invalid, err, "the body ended early")
	case bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n"), []byte("[")):
		return fault.New(fault.Invalid, "batch_refused", "a request is one message, not a batch of them")
	}
	_ = connection.SetReadDeadline(time.Time{}) // calls take as long as they may
	_ = connection.SetWriteDeadline(time.Time{})
	r.Body = io.NopCloser(bytes.NewReader(body))
	return nil
}
