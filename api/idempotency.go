package api

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"agentmarket/fault"
	"agentmarket/product"
)

const maxIdempotencyKey = 255

// idempotencyKey reads the Idempotency-Key of a POST; nil without one.
func idempotencyKey(r *request) (*product.IdempotencyKey, error) {
	values := r.header.Values(http.CanonicalHeaderKey("Idempotency-Key"))
	if len(values) == 0 {
		return nil, nil //nolint:nilnil // no key is not an error
	}
	key := values[0]
	visible := strings.IndexFunc(key, func(c rune) bool { return c < '!' || c > '~' }) < 0
	if len(values) > 1 || key == "" || len(key) > maxIdempotencyKey || !visible {
		return nil, fault.New(fault.Invalid, "idempotency_key_invalid", "the idempotency key is not valid").
			WithFields(fault.Field{Pointer: "Idempotency-Key",
				Message: fmt.Sprintf("must be 1 to %d visible ASCII characters, sent once", maxIdempotencyKey)})
	}
	print, err := fingerprint(http.MethodPost, r.path, r.body)
	if err != nil {
		return nil, err
	}
	return &product.IdempotencyKey{Key: key, Fingerprint: print}, nil
}

// fingerprint identifies a request by what it means: white space and the order
// of members do not count, and no body is an empty object.
func fingerprint(method, path string, body []byte) (string, error) {
	if len(body) == 0 {
		body = []byte("{}")
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		return "", fmt.Errorf("decode body for its fingerprint: %w", err)
	}
	canonical, err := json.Marshal(value) // members sorted by name
	if err != nil {
		return "", fmt.Errorf("encode body for its fingerprint: %w", err)
	}
	hash := sha256.New()
	fmt.Fprintf(hash, "%s\n%s\n%s", method, path, canonical)
	return hex.EncodeToString(hash.Sum(nil)), nil
}
