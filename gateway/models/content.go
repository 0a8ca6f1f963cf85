package models

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"agentmarket/fault"
)

// The bounds of what a body holds.
const (
	maxDepth    = 64
	maxMessages = 4096
	maxParts    = 64 // that are not text, of all messages
	maxTools    = 512
)

// checkShape refuses a body that is not one JSON value in UTF-8, is too deep, or has an
// object with a name twice: two readers would see two different things in it.
func checkShape(body []byte) error {
	invalid := func(why string) error { return fault.New(fault.Invalid, "body_invalid", "the body "+why) }
	if !utf8.Valid(body) {
		return invalid("is not UTF-8")
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	var open []map[string]bool // the names of each open object; nil: an array
	name := false              // an object is open, and its next token is a name or its end
	for first := true; first || len(open) > 0; first = false {
		token, err := decoder.Token()
		if err != nil {
			return invalid("is not JSON")
		}
		inside := len(open) > 0 && open[len(open)-1] != nil
		switch token := token.(type) {
		case json.Delim:
			switch token {
			case '{':
				open = append(open, map[string]bool{})
			case '[':
				open = append(open, nil)
			default:
				open = open[:len(open)-1]
			}
			if len(open) > maxDepth {
				return invalid(fmt.Sprintf("is more than %d values deep", maxDepth))
			}
			name = len(open) > 0 && open[len(open)-1] != nil
		case string:
			if inside && name {
				names := open[len(open)-1]
				if names[token] {
					return invalid("has an object with a name twice")
				}
				names[token] = true
				name = false
				continue
			}
			name = inside
		default:
			name = inside
		}
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return invalid("has more than one JSON value")
	}
	return nil
}

// checkContent looks into the fields that say what a model is given and what it may
// answer with.
func checkContent(fields map[string]json.RawMessage) (m media, err error) {
	var messages []json.RawMessage
	if err := json.Unmarshal(fields["messages"], &messages); err != nil || len(messages) < 1 || len(messages) > maxMessages {
		return media{}, refuse("messages", fmt.Sprintf("must be a list of 1 to %d messages", maxMessages))
	}
	for i, text := range messages {
		if err := m.checkMessage(fmt.Sprintf("messages[%d]", i), text); err != nil {
			return media{}, err
		}
		if m.parts > maxParts {
			return media{}, refuse("messages", fmt.Sprintf("may have at most %d images and sounds", maxParts))
		}
	}
	var modalities []string
	if err := optional(fields, "modalities", &modalities); err != nil || slices.ContainsFunc(modalities, func(m string) bool { return m != "text" }) {
		return media{}, refuse("modalities", "may be text only")
	}
	return m, checkTools(fields)
}

// checkTools refuses tools that the upstream would use by itself, which costs more than
// tokens.
func checkTools(fields map[string]json.RawMessage) error {
	var tools []json.RawMessage
	if err := optional(fields, "tools", &tools); err != nil || len(tools) > maxTools {
		return refuse("tools", fmt.Sprintf("must be a list of at most %d tools", maxTools))
	}
	for i, text := range tools {
		at := fmt.Sprintf("tools[%d]", i)
		tool, err := object(at, text, "type")
		if err != nil {
			return err
		}
		if kind := word(tool["type"]); kind != "function" && kind != "custom" {
			return refuse(at+".type", "must be function or custom")
		}
	}
	return nil
}

// media is what the messages of a call hold that is not text.
type media struct {
	parts int64
	bytes int64 // of images and sounds, as they are in the body
}

func (m *media) checkMessage(at string, text json.RawMessage) error {
	message, err := object(at, text, "role", "content", "audio")
	if err != nil {
		return err
	}
	if !isNull(message["audio"]) {
		return refuse(at+".audio", "is not supported by this endpoint")
	}
	content := message["content"]
	if isNull(content) || content[0] == '"' {
		return nil
	}
	var list []json.RawMessage
	if err := json.Unmarshal(content, &list); err != nil {
		return refuse(at+".content", "must be a text or a list of parts")
	}
	for i, part := range list {
		if err := m.checkPart(fmt.Sprintf("%s.content[%d]", at, i), part); err != nil {
			return err
		}
	}
	return nil
}

// partFields are the kinds of parts, and beside what is said of caches the one field that
// each has. Files are not among them: the upstream's belong to whoever has its key, and
// what one costs nobody knows before.
var partFields = map[string]string{"text": "text", "refusal": "refusal", "image_url": "image_url", "input_audio": "input_audio"}

func (m *media) checkPart(at string, text json.RawMessage) error {
	part, err := object(at, text)
	if err != nil {
		return err
	}
	kind := word(part["type"])
	field, known := partFields[kind]
	if !known {
		return refuse(at+".type", "must be text, refusal, image_url or input_audio")
	}
	for name := range part {
		if name != "type" && name != field && name != "cache_control" {
			return refuse(at, "may have no field but type and "+field)
		}
	}
	switch kind {
	case "image_url":
		return m.add(at+".image_url", part[field], "url", "data:image/")
	case "input_audio":
		return m.add(at+".input_audio", part[field], "data", "")
	default:
		return nil
	}
}

// add counts an image or a sound. One that the upstream would have to fetch is refused:
// the upstream may stand in a network where an agent must not reach.
func (m *media) add(at string, text json.RawMessage, name, prefix string) error {
	fields, err := object(at, text, name)
	if err != nil {
		return err
	}
	data := word(fields[name])
	if data == "" || !strings.HasPrefix(data, prefix) || prefix == "" && strings.Contains(data, ":") {
		return refuse(at+"."+name, "must hold the data itself: an image as a data: URL, a sound in base64")
	}
	m.parts++
	m.bytes += int64(len(data))
	return nil
}

// object decodes an object, with no name that is one of those in another case.
func object(at string, text json.RawMessage, names ...string) (map[string]json.RawMessage, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(text, &fields); err != nil || fields == nil {
		return nil, refuse(at, "must be an object")
	}
	for have := range fields {
		for _, name := range names {
			if have != name && strings.EqualFold(have, name) {
				return nil, refuse(at, name+" must be written like this")
			}
		}
	}
	return fields, nil
}

// word is the text of a value that is one; empty: it is none.
func word(value json.RawMessage) string {
	var text string
	if json.Unmarshal(value, &text) != nil {
		return ""
	}
	return text
}
