package models_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestHostileBodies: nothing that an agent writes makes a call that costs more, is
// somebody else's, or reaches further.
func TestHostileBodies(t *testing.T) {
	w := newWorld(t, 1e9, says("x", 1, 1))
	const messages = `"messages":[{"role":"user","content":"hi"}]`
	with := func(fields string) string { return `{"model":"small",` + messages + `,` + fields + `}` }
	content := func(part string) string {
		return `{"model":"eyes/big","messages":[{"role":"user","content":[` + part + `]}]}`
	}
	image := content(`{"type":"image_url","image_url":{"url":"data:image/png;base64,AA"}}`)
	for name, test := range map[string]struct {
		body, code, param string
		status            int // zero: 400
	}{
		"empty":                {body: ``, code: "body_invalid"},
		"no JSON":              {body: `hello`, code: "body_invalid"},
		"null":                 {body: `null`, code: "body_invalid"},
		"a list":               {body: `[]`, code: "body_invalid"},
		"half":                 {body: `{"model":"small"`, code: "body_invalid"},
		"two values":           {body: with(`"a":1`) + `{}`, code: "body_invalid"},
		"no UTF-8":             {body: with("\"a\":\"\xff\""), code: "body_invalid"},
		"too large":            {body: with(`"a":"` + strings.Repeat("x", 4<<20) + `"`), code: "body_too_large", status: http.StatusRequestEntityTooLarge},
		"too deep":             {body: with(`"a":` + strings.Repeat("[", 64) + strings.Repeat("]", 64)), code: "body_invalid"},
		"far too deep":         {body: with(`"a":` + strings.Repeat(`{"a":`, 500_000)), code: "body_invalid"},
		"a name twice":         {body: with(`"model":"secret"`), code: "body_invalid"},
		"a name twice inside":  {body: with(`"a":[{"b":1,"b":2}]`), code: "body_invalid"},
		"a name written twice": {body: with(`"\u006dodel":"secret"`), code: "body_invalid"},
		"another case":         {body: with(`"Max_Tokens":100000000`), code: "invalid_value", param: "max_tokens"},
		"another letter":       {body: with(`"ſtream":true`), code: "invalid_value", param: "stream"},
		"no model":             {body: `{` + messages + `}`, code: "invalid_value", param: "model"},
		"model is a number":    {body: `{"model":7,` + messages + `}`, code: "invalid_value", param: "model"},
		"long model":           {body: `{"model":"` + strings.Repeat("x", 101) + `",` + messages + `}`, code: "invalid_value", param: "model"},
		"no messages":          {body: `{"model":"small"}`, code: "invalid_value", param: "messages"},
		"empty messages":       {body: `{"model":"small","messages":[]}`, code: "invalid_value", param: "messages"},
		"messages of numbers":  {body: `{"model":"small","messages":[1]}`, code: "invalid_value", param: "messages[0]"},
		"too many messages":    {body: `{"model":"small","messages":[` + strings.Repeat(`{},`, 4096) + `{}]}`, code: "invalid_value", param: "messages"},
		"n of five":            {body: with(`"n":5`), code: "invalid_value", param: "n"},
		"n of zero":            {body: with(`"n":0`), code: "invalid_value", param: "n"},
		"n of half":            {body: with(`"n":1.5`), code: "invalid_value", param: "n"},
		"no tokens":            {body: with(`"max_tokens":0`), code: "invalid_value", param: "max_tokens"},
		"negative tokens":      {body: with(`"max_completion_tokens":-1`), code: "invalid_value", param: "max_completion_tokens"},
		"endless tokens":       {body: with(`"max_tokens":1e999`), code: "invalid_value", param: "max_tokens"},
		"stream is a text":     {body: with(`"stream":"true"`), code: "invalid_value", param: "stream"},
		"stream options":       {body: with(`"stream_options":7`), code: "invalid_value", param: "stream_options"},
		"best of":              {body: with(`"best_of":20`), code: "unsupported_parameter", param: "best_of"},
		"web search":           {body: with(`"web_search_options":{}`), code: "unsupported_parameter", param: "web_search_options"},
		"sound":                {body: with(`"audio":{"voice":"alloy"}`), code: "unsupported_parameter", param: "audio"},
		"spoken answers":       {body: with(`"modalities":["text","audio"]`), code: "invalid_value", param: "modalities"},
		"other models":         {body: with(`"models":["expensive"]`), code: "unsupported_parameter", param: "models"},
		"another server":       {body: with(`"api_base":"http://169.254.169.254"`), code: "unsupported_parameter", param: "api_base"},
		"a tool of theirs":     {body: with(`"tools":[{"type":"web_search"}]`), code: "invalid_value", param: "tools[0].type"},
		"a tool of two types":  {body: with(`"tools":[{"type":"function","Type":"web_search"}]`), code: "invalid_value", param: "tools[0]"},
		"tools of numbers":     {body: with(`"tools":[1]`), code: "invalid_value", param: "tools[0]"},
		"a fetched image":      {body: content(`{"type":"image_url","image_url":{"url":"http://169.254.169.254/"}}`), code: "invalid_value", param: "messages[0].content[0].image_url.url"},
		"an image of a file":   {body: content(`{"type":"image_url","image_url":{"url":"file:///etc/passwd"}}`), code: "invalid_value", param: "messages[0].content[0].image_url.url"},
		"an untyped image":     {body: content(`{"image_url":"http://169.254.169.254/"}`), code: "invalid_value", param: "messages[0].content[0].type"},
		"a hidden image":       {body: content(`{"type":"text","text":"a","image_url":{"url":"http://x"}}`), code: "invalid_value", param: "messages[0].content[0]"},
		"a fetched sound":      {body: content(`{"type":"input_audio","input_audio":{"data":"http://x","format":"wav"}}`), code: "invalid_value", param: "messages[0].content[0].input_audio.data"},
		"somebody's file":      {body: content(`{"type":"file","file":{"file_id":"file-1"}}`), code: "invalid_value", param: "messages[0].content[0].type"},
		"somebody's sound":     {body: `{"model":"small","messages":[{"role":"assistant","audio":{"id":"audio_1"}}]}`, code: "invalid_value", param: "messages[0].audio"},
		"hidden content":       {body: `{"model":"small","messages":[{"role":"user","content":"a","Content":[]}]}`, code: "invalid_value", param: "messages[0]"},
		"content is a number":  {body: `{"model":"small","messages":[{"role":"user","content":7}]}`, code: "invalid_value", param: "messages[0].content"},
		"too many images":      {body: strings.Replace(image, `{"type"`, strings.Repeat(`{"type":"image_url","image_url":{"url":"data:image/png;base64,AA"}},`, 64)+`{"type"`, 1), code: "invalid_value", param: "messages"},
		"an image for no eyes": {body: strings.Replace(image, "eyes/big", "small", 1), code: "invalid_value", param: "messages"},
	} {
		t.Run(name, func(t *testing.T) {
			response, body := w.post(t, test.body)
			if test.status == 0 {
				test.status = http.StatusBadRequest
			}
			require.Equal(t, test.status, response.StatusCode, body)
			code, _ := errorOf(t, body)
			require.Equal(t, test.code, code)
			if test.param != "" {
				require.Contains(t, body, fmt.Sprintf(`"param":%q`, test.param))
			}
			require.Less(t, len(body), 1000)
		})
	}
	require.Zero(t, w.calls(), "nothing of it reaches the upstream")
	require.Empty(t, w.meter.usages(t), "nor the meter")
}

// TestPlainBodies: what is null is not there, and what is not known passes.
func TestPlainBodies(t *testing.T) {
	w := newWorld(t, 1e9, says("x", 1, 1))
	response, body := w.post(t, ` {"model":"small","n":null,"stream":null,"max_tokens":700,"max_completion_tokens":5000,"audio":null,"models":null,`+
		`"stream_options":null,"stop":["\u2028"],"new_thing":{"Model":"m","n":9},"tools":[{"type":"function","function":{"name":"f","parameters":{"properties":{"a":{},"A":{}}}}}],`+
		`"messages":[{"role":"user","content":[{"type":"text","text":"hi"}]},{"role":"assistant","content":null,"tool_calls":[]}]}`)
	require.Equal(t, http.StatusOK, response.StatusCode, body)
	asked := w.last(t).body
	require.EqualValues(t, 700, asked["max_completion_tokens"], "the smaller one")
	require.Equal(t, map[string]any{"Model": "m", "n": 9.0}, asked["new_thing"])
	for _, name := range []string{"n", "stream", "stream_options", "max_tokens", "audio", "models"} {
		require.NotContains(t, asked, name)
	}
	require.Contains(t, asked, "tools")
}

func TestUnknownCalls(t *testing.T) {
	w := newWorld(t, 1e9, nil)
	for _, path := range []string{"/v1/embeddings", "/v1/files", "/v1/chat/completions/x", "/", "/v1/models/small"} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.url+path, http.NoBody)
		require.NoError(t, err)
		request.Header.Set("Authorization", "Bearer "+agentToken)
		response, err := http.DefaultClient.Do(request)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		require.Equal(t, http.StatusNotFound, response.StatusCode, path)
	}
}
