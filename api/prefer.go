package api

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// maxWait is how long a request may be kept open for the end of a run.
const maxWait = 60 * time.Second

// preferredWait reads the preference wait of RFC 7240: how long the client likes
// to wait, 0 for not at all. wait alone means as long as possible, and more than
// maxWait is maxWait. As the RFC wants it, preferences that are not known or not
// understood are ignored, and of several the first one counts.
func preferredWait(header http.Header) time.Duration {
	for _, line := range header.Values("Prefer") {
		for _, preference := range splitUnquoted(line, ',') {
			// Parameters of a preference follow after semicolons; wait has none.
			first := splitUnquoted(preference, ';')[0]
			name, value, _ := strings.Cut(first, "=")
			if strings.EqualFold(strings.TrimSpace(name), "wait") {
				return parseWait(strings.TrimSpace(value))
			}
		}
	}
	return 0
}

func parseWait(value string) time.Duration {
	if n := len(value); n >= 2 && value[0] == '"' && value[n-1] == '"' {
		value = value[1 : n-1]
	}
	if value == "" {
		return maxWait
	}
	if strings.Trim(value, "0123456789") != "" {
		return 0
	}
	seconds, err := strconv.Atoi(value)
	if err != nil { // more than an int holds
		return maxWait
	}
	return time.Duration(min(seconds, int(maxWait/time.Second))) * time.Second
}

// splitUnquoted splits at a separator outside of quoted strings. It returns at
// least one part.
func splitUnquoted(text string, separator byte) []string {
	var parts []string
	start, quoted := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case c == separator && !quoted:
			parts = append(parts, text[start:i])
			start = i + 1
		}
	}
	return append(parts, text[start:])
}
