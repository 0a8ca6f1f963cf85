package models

import "encoding/json"

const (
	// bytesPerToken is what estimates take for the length of a token: short, for
	// whoever breaks a call off must not pay less for it.
	bytesPerToken = 3
	// longToken is longer than tokens are on average in whatever text: what has more
	// bytes for each token that was reserved has more tokens.
	longToken = 32
)

// tally counts what one call uses.
type tally struct {
	sent bool // the upstream may have begun to work
	// reported is what the upstream says; nil: nothing yet.
	reported *counted
	// whole says that what is reported is about all of the answer.
	whole bool
	// pieces of text, and their bytes, as they were passed on.
	pieces, text int64
}

// counted is what an upstream counts.
type counted struct{ input, output int64 }

// with counts more text.
func (t tally) with(pieces, text int64) tally {
	t.pieces += pieces
	t.text += text
	return t
}

// surely is how many output tokens were passed on at least, as far as one can tell: a
// piece is a token or more.
func (t tally) surely() int64 { return max(t.pieces, t.text/longToken) }

// usage is what the call used, of a bound: estimated where the upstream has not said it.
func (t tally) usage(b bound) (c counted, partial bool) {
	switch {
	case t.reported != nil && t.whole:
		return *t.reported, false
	case !t.sent:
		return counted{}, false
	}
	input := (b.bytes+bytesPerToken-1)/bytesPerToken + b.partTokens
	output := max(t.pieces, (t.text+bytesPerToken-1)/bytesPerToken)
	c = counted{min(input, b.input), min(output, b.output)}
	if t.reported != nil { // of the part of the answer that was there
		c = counted{t.reported.input, max(c.output, t.reported.output)}
	}
	return c, true
}

// parseUsage reads what an upstream says that it counted; nil: it says nothing, or
// nothing that can be believed.
func parseUsage(text json.RawMessage) *counted {
	var u struct {
		Prompt     *int64 `json:"prompt_tokens"`
		Completion *int64 `json:"completion_tokens"`
		Total      int64  `json:"total_tokens"`
	}
	if isNull(text) || json.Unmarshal(text, &u) != nil || u.Prompt == nil || u.Completion == nil || *u.Prompt < 0 || *u.Completion < 0 {
		return nil
	}
	// There are upstreams that count what a model thinks in the total only.
	input := min(*u.Prompt, maxTokens)
	output := max(*u.Completion, u.Total-input)
	return &counted{input, min(output, maxTokens)}
}

// answer is what is read of an answer, or of one chunk of it.
type answer struct {
	Choices []struct {
		Delta   json.RawMessage `json:"delta"`
		Message json.RawMessage `json:"message"`
	} `json:"choices"`
	Usage json.RawMessage `json:"usage"`
	Error json.RawMessage `json:"error"`
}

// said is what the model said: how many of its choices go on, and the bytes of that.
func (a answer) said() (pieces, bytes int64) {
	for _, choice := range a.Choices {
		for _, text := range []json.RawMessage{choice.Delta, choice.Message} {
			var value any
			if len(text) == 0 || json.Unmarshal(text, &value) != nil {
				continue
			}
			if n := textOf(value); n > 0 {
				pieces++
				bytes += n
			}
		}
	}
	return pieces, bytes
}

// notSaid are texts of an answer that are the protocol's.
var notSaid = map[string]bool{"role": true, "id": true, "type": true}

// textOf is the bytes of all that is said in a value: content, refusals, thoughts, names
// and arguments of tools.
func textOf(value any) (bytes int64) {
	switch value := value.(type) {
	case string:
		return int64(len(value))
	case []any:
		for _, v := range value {
			bytes += textOf(v)
		}
	case map[string]any:
		for name, v := range value {
			if !notSaid[name] {
				bytes += textOf(v)
			}
		}
	}
	return bytes
}
