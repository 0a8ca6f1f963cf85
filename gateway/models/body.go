package models

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"agentmarket/fault"
	"agentmarket/ids"
)

// The bounds of a request.
const (
	maxBody     = 4 << 20
	maxChoices  = 4
	bodyTimeout = 30 * time.Second
)

// ours are fields that are set here, or that the upstream is not told: what is kept of a
// call, in whose name it is, how fast it is and what it shares with other calls.
var ours = []string{
	"model", "n", "stream", "stream_options", fieldMaxTokens, fieldMaxCompletionTokens, "user",
	"store", "metadata", "service_tier", "safety_identifier", "prompt_cache_key", "prompt_cache_retention",
}

// refused are fields that cost beside tokens, choose another model or server, or give
// what the price does not know.
var refused = []string{
	"audio", "best_of", "web_search_options", "search_parameters", "plugins",
	"models", "route", "provider", "fallbacks",
	"api_key", "api_base", "base_url", "extra_body", "extra_headers",
}

// read are fields that are looked into.
var read = []string{"messages", "tools", "modalities"}

// request is a body that was read.
type request struct {
	model   string
	stream  bool
	usage   bool  // the agent wants the usage of a stream
	choices int64 // 1 to maxChoices
	most    int64 // output tokens of each choice; 0: not said
	media   media
	// rest are the fields that pass.
	rest map[string]json.RawMessage
}

// readBody reads a body of at most maxBody bytes, whoever sends it slowly.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	connection := http.NewResponseController(w)
	_ = connection.SetReadDeadline(time.Now().Add(bodyTimeout)) // tests have no connection
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, fault.Newf(fault.TooLarge, "body_too_large", "the body has more than %d bytes", maxBody)
	case err != nil:
		return nil, fault.Wrap(fault.Invalid, err, "the body ended early")
	}
	_ = connection.SetReadDeadline(time.Time{}) // the answer takes as long as it takes
	return body, nil
}

// parse reads the body of a call.
func parse(body []byte) (request, error) {
	if err := checkShape(body); err != nil {
		return request{}, err
	}
	r := request{choices: 1}
	if err := json.Unmarshal(body, &r.rest); err != nil || r.rest == nil {
		return request{}, fault.New(fault.Invalid, "body_invalid", "the body is not a JSON object")
	}
	if err := r.checkNames(); err != nil {
		return request{}, err
	}
	if err := errors.Join(r.readModel(), r.readStream(), r.readBounds()); err != nil {
		return request{}, err
	}
	var err error
	if r.media, err = checkContent(r.rest); err != nil {
		return request{}, err
	}
	for _, name := range ours {
		delete(r.rest, name)
	}
	return r, nil
}

// checkNames refuses fields that may not be there, and those that some upstream takes
// for another one: there are decoders that do not tell cases apart.
func (r *request) checkNames() error {
	known := slices.Concat(ours, refused, read)
	for name, value := range r.rest {
		i := slices.IndexFunc(known, func(k string) bool { return strings.EqualFold(k, name) })
		switch {
		case i < 0:
		case known[i] != name:
			return refuse(known[i], "must be written like this")
		case slices.Contains(refused, name) && !isNull(value):
			return refusal{status: http.StatusBadRequest, code: "unsupported_parameter", param: name,
				message: name + " is not supported by this endpoint"}
		case slices.Contains(refused, name):
			delete(r.rest, name)
		}
	}
	return nil
}

func (r *request) readModel() error {
	if err := json.Unmarshal(r.rest["model"], &r.model); err != nil || r.model == "" || len(r.model) > maxNameLength {
		return refuse("model", "must be the name of a model")
	}
	return nil
}

func (r *request) readStream() error {
	if err := optional(r.rest, "stream", &r.stream); err != nil {
		return refuse("stream", "must be true or false")
	}
	var options struct {
		IncludeUsage *bool `json:"include_usage"`
	}
	if err := optional(r.rest, "stream_options", &options); err != nil {
		return refuse("stream_options", "must be an object")
	}
	r.usage = options.IncludeUsage != nil && *options.IncludeUsage
	return nil
}

// readBounds reads how much is asked for. Where both fields bound the output the smaller
// one holds.
func (r *request) readBounds() error {
	if err := optional(r.rest, "n", &r.choices); err != nil || r.choices < 1 || r.choices > maxChoices {
		return refuse("n", fmt.Sprintf("must be between 1 and %d", maxChoices))
	}
	for _, name := range []string{fieldMaxTokens, fieldMaxCompletionTokens} {
		if isNull(r.rest[name]) {
			continue
		}
		var most int64
		if err := json.Unmarshal(r.rest[name], &most); err != nil || most < 1 {
			return refuse(name, "must be a whole number above zero")
		}
		if r.most == 0 || most < r.most {
			r.most = most
		}
	}
	return nil
}

// encode is the body for the upstream: at most so many tokens of each choice.
func (r request) encode(m Model, org ids.Org, most int64) ([]byte, error) {
	fields := map[string]any{
		"model": m.UpstreamName, "user": pseudonym(org), m.maxField(): most,
	}
	for name, value := range r.rest {
		fields[name] = value
	}
	if r.choices > 1 {
		fields["n"] = r.choices
	}
	if r.stream {
		fields["stream"] = true
		fields["stream_options"] = map[string]bool{"include_usage": true}
	}
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(fields); err != nil {
		return nil, fmt.Errorf("encode body for %s: %w", m.Upstream, err)
	}
	return bytes.TrimSuffix(body.Bytes(), []byte("\n")), nil
}

// pseudonym is the name of an organization for upstreams.
func pseudonym(org ids.Org) string {
	sum := sha256.Sum256([]byte("agentmarket/models/user/" + org))
	return hex.EncodeToString(sum[:16])
}

func isNull(value json.RawMessage) bool { return len(value) == 0 || string(value) == "null" }

// optional decodes a field that may be missing or null.
func optional(fields map[string]json.RawMessage, name string, into any) error {
	if isNull(fields[name]) {
		return nil
	}
	return json.Unmarshal(fields[name], into)
}
