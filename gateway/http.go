package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"agentmarket/fault"
)

// serve serves until the context ends.
func serve(ctx context.Context, l net.Listener, handler http.Handler) error {
	server := &http.Server{
		Handler: handler, ReadHeaderTimeout: readHeaderTimeout, ReadTimeout: bodyTimeout, WriteTimeout: bodyTimeout,
		IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes,
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serve gateway: %w", err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if err := server.Shutdown(stop); err != nil {
		_ = server.Close()
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve gateway: %w", err)
	}
	return nil
}

// bearer is the token of a call.
func bearer(r *http.Request) (string, bool) { return bearerOf(r.Header.Get("Authorization")) }

// bearerOf is the token in a header.
func bearerOf(header string) (string, bool) {
	scheme, token, found := strings.Cut(header, " ")
	return token, found && strings.EqualFold(scheme, "Bearer") && token != ""
}

// readBody reads a body of at most so many bytes; more is fault.TooLarge.
func readBody(w http.ResponseWriter, r *http.Request, most int64) ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, most))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, fault.Newf(fault.TooLarge, "body_too_large", "the body has more than %d bytes", most)
	case err != nil:
		return nil, fault.Wrap(fault.Invalid, err, "the body ended early")
	}
	return body, nil
}

// decode reads a JSON body strictly: one value in UTF-8, known fields, of at most so many
// bytes.
func decode(w http.ResponseWriter, r *http.Request, most int64, into any) error {
	body, err := readBody(w, r, most)
	if err != nil {
		return err
	}
	if !utf8.Valid(body) {
		return fault.New(fault.Invalid, "body_invalid", "the body is not UTF-8")
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return fault.New(fault.Invalid, "body_invalid", "the body is not the JSON of this call: "+short(err.Error()))
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return fault.New(fault.Invalid, "body_invalid", "the body has more than one JSON value")
	}
	return nil
}

// short bounds a text about what an agent sent: it may repeat it.
func short(text string) string {
	const most = 200
	if len(text) > most {
		return strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}

// idempotencyKey is the key of a call that costs.
func idempotencyKey(r *http.Request) (string, error) {
	const most = 128
	key := r.Header.Get("Idempotency-Key")
	if key == "" || len(key) > most || strings.ContainsFunc(key, func(c rune) bool { return c < ' ' || c > '~' }) {
		return "", fault.Newf(fault.Invalid, "idempotency_key_invalid", "the call needs an Idempotency-Key of 1 to %d printable ASCII characters", most)
	}
	return key, nil
}
