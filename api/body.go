package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humagin"

	"agentmarket/fault"
)

const (
	maxBodyBytes = 1 << 20
	// maxDepth bounds the nesting of a body.
	maxDepth = 100
	// maxNumberLength and maxExponent bound a number: exact arithmetic on
	// 1e999999 would cost a processor, and nobody means it.
	maxNumberLength = 100
	maxExponent     = 400
)

// readBody reads the body of a call, once and whole, and lets it pass when it is
// what the description of the API says.
func (a *app) readBody(required bool) middleware {
	return func(ctx huma.Context, next func(huma.Context)) {
		c := humagin.Unwrap(ctx)
		body, err := readJSON(c.Writer, c.Request, required)
		if err == nil && len(body) > 0 {
			err = validateBody(a.bodies[ctx.Operation().OperationID], body)
		}
		if err != nil {
			a.fail(c, err)
			return
		}
		requestOf(c.Request.Context()).body = body
		c.Request.Body = io.NopCloser(bytes.NewReader(body))
		next(ctx)
	}
}

// readJSON reads and checks one JSON value. An absent body is nil, or a problem
// where it is required.
func readJSON(w http.ResponseWriter, r *http.Request, required bool) ([]byte, error) {
	tooLarge := fault.Newf(fault.TooLarge, "body_too_large", "the body has more than %d bytes", maxBodyBytes)
	if r.ContentLength > maxBodyBytes {
		w.Header().Set("Connection", "close") // the rest is not worth reading
		return nil, tooLarge
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBodyBytes))
	var limit *http.MaxBytesError
	switch {
	case errors.As(err, &limit):
		return nil, tooLarge
	case err != nil:
		return nil, newProblem(http.StatusBadRequest, "malformed_json", "the body ended before it was complete")
	case len(bytes.TrimSpace(body)) == 0:
		if required {
			return nil, newProblem(http.StatusBadRequest, "malformed_json", "the request has no body")
		}
		return nil, nil
	}
	if err := checkMediaType(r.Header); err != nil {
		return nil, err
	}
	if err := checkJSON(body); err != nil {
		return nil, newProblem(http.StatusBadRequest, "malformed_json", err.Error())
	}
	return body, nil
}

func checkMediaType(header http.Header) error {
	mediaType, parameters, err := mime.ParseMediaType(header.Get("Content-Type"))
	charset := parameters["charset"]
	plain := header.Get("Content-Encoding") == "" || strings.EqualFold(header.Get("Content-Encoding"), "identity")
	if err != nil || mediaType != "application/json" || !plain || charset != "" && !strings.EqualFold(charset, "utf-8") {
		return newProblem(http.StatusUnsupportedMediaType, "media_type_unsupported",
			"send the body as Content-Type: application/json, in UTF-8 and without a Content-Encoding").
			with("Accept", "application/json")
	}
	return nil
}

// checkJSON returns an error for people unless data is one JSON value that any
// two readers understand alike and none chokes on: valid UTF-8, no name twice in
// an object, bounded in depth and in its numbers.
func checkJSON(data []byte) error {
	if !utf8.Valid(data) {
		return errors.New("the body is not valid UTF-8")
	}
	var whole json.RawMessage
	if err := json.Unmarshal(data, &whole); err != nil {
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			return fmt.Errorf("the body is not JSON: %w, at byte %d", err, syntax.Offset)
		}
		return errors.New("the body is not JSON")
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	var open []level
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return errors.New("the body is not JSON")
		}
		if open, err = step(open, token); err != nil {
			return err
		}
	}
}

// level is one open object or array.
type level struct {
	names   map[string]bool // nil in an array
	atValue bool            // the next token of the object is a value
}

func step(open []level, token json.Token) ([]level, error) {
	if token == json.Delim('}') || token == json.Delim(']') {
		return open[:len(open)-1], nil
	}
	if n := len(open); n > 0 && open[n-1].names != nil {
		top := &open[n-1]
		if name, isName := token.(string); isName && !top.atValue {
			if top.names[name] {
				return nil, errors.New("the body names the same member of an object twice")
			}
			top.names[name], top.atValue = true, true
			return open, nil
		}
		top.atValue = false
	}
	switch token := token.(type) {
	case json.Delim:
		if len(open) == maxDepth {
			return nil, fmt.Errorf("the body is nested deeper than %d levels", maxDepth)
		}
		next := level{}
		if token == '{' {
			next.names = map[string]bool{}
		}
		return append(open, next), nil
	case json.Number:
		return open, checkNumber(string(token))
	}
	return open, nil
}

func checkNumber(text string) error {
	_, exponent, found := strings.Cut(strings.ToLower(text), "e")
	size, err := strconv.Atoi(strings.TrimPrefix(exponent, "+"))
	if len(text) > maxNumberLength || found && (err != nil || size > maxExponent || size < -maxExponent) {
		return errors.New("the body holds a number that is too long or too large")
	}
	return nil
}
