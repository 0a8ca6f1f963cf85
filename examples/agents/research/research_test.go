package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"agentmarket/examples/agents/agenttest"
)

const (
	question = `{"question":"How high is Mount Ararat?"}`
	answer   = "Mount Ararat is 5,137 m high (https://peaks.example/ararat)."
)

func TestSample(t *testing.T) {
	m := agenttest.Manifest(t)
	input := agenttest.Read(t, "sample-input.json")
	require.NoError(t, agenttest.Valid(t, m.InputSchema, input))
	w := newWorld(t, wants("web__search", `{"q":"Ararat height"}`), says(answer))
	result, stderr, code := w.research(t, string(input))
	require.Equal(t, 0, code, stderr)
	require.NoError(t, agenttest.Valid(t, m.OutputSchema, []byte(result)))
	require.JSONEq(t, string(agenttest.Read(t, "sample-output.json")), result)

	require.Equal(t, []string{"Ararat height"}, w.queries)
	require.Len(t, w.asked, 2)
	first, second := w.asked[0], w.asked[1]
	require.Equal(t, "small", first.Model, "the first that is granted")
	require.EqualValues(t, maxTokens, first.Most)
	require.Len(t, first.Tools, 1, "what is not granted is not offered")
	require.Equal(t, "web__search", first.Tools[0].Function.Name)
	require.Equal(t, "Searches the web.", first.Tools[0].Function.Description)
	require.Contains(t, string(first.Tools[0].Function.Parameters), `"q"`)
	returned := second.Messages[len(second.Messages)-1]
	require.Equal(t, "tool", returned.Role)
	require.Equal(t, "call_a", returned.CallID)
	require.Contains(t, returned.Content, "5,137 m")

	require.Len(t, w.partials, 2)
	require.JSONEq(t, `{"answer":"","sources":["https://peaks.example/ararat","https://peaks.example/all"],"rounds":1}`, w.partials[0])
	require.JSONEq(t, result, w.partials[1])
	for _, partial := range w.partials {
		require.NoError(t, agenttest.Valid(t, m.OutputSchema, []byte(partial)))
	}
	for _, part := range []string{"How high is Mount Ararat?", answer, "- https://peaks.example/ararat\n", "- web__search\n", "2 rounds with small"} {
		require.Contains(t, w.report, part)
	}
	var told []string
	for _, e := range w.events {
		told = append(told, fmt.Sprintf("%s %d %s", e.Type, *e.Percent, e.Message))
	}
	require.Equal(t, []string{"progress 0 round 1: asking small", "progress 25 round 2: asking small"}, told)
}

func TestBadInput(t *testing.T) {
	m := agenttest.Manifest(t)
	w := newWorld(t)
	for name, test := range map[string]struct {
		input, says string
		fitsSchema  bool
	}{
		"nothing":           {input: "", says: "read input"},
		"no JSON":           {input: "{", says: "read input"},
		"no question":       {input: `{}`, says: "the question must have"},
		"blank question":    {input: `{"question":" \n "}`, says: "the question must have"},
		"number":            {input: `{"question":7}`, says: "read input"},
		"too long":          {input: `{"question":"` + strings.Repeat("é", 4001) + `"}`, says: "the question must have"},
		"no rounds":         {input: `{"question":"q","max_rounds":0}`, says: "max_rounds must be"},
		"too many rounds":   {input: `{"question":"q","max_rounds":21}`, says: "max_rounds must be"},
		"a half round":      {input: `{"question":"q","max_rounds":0.5}`, says: "read input"},
		"ungranted model":   {input: `{"question":"q","model":"huge"}`, says: `not granted the model "huge", but small, large`, fitsSchema: true},
		"number of a model": {input: `{"question":"q","model":1}`, says: "read input"},
	} {
		t.Run(name, func(t *testing.T) {
			if strings.HasSuffix(test.input, "}") {
				require.Equal(t, test.fitsSchema, agenttest.Valid(t, m.InputSchema, []byte(test.input)) == nil)
			}
			result, stderr, code := w.research(t, test.input)
			require.Equal(t, 1, code)
			require.Empty(t, result)
			require.Contains(t, stderr, "research: ")
			require.Contains(t, stderr, test.says)
			require.Empty(t, w.asked, "nothing was paid for")
		})
	}
}

func TestLongestQuestion(t *testing.T) {
	input := `{"question":"` + strings.Repeat("é", 4000) + `","model":"large","max_rounds":20}`
	require.NoError(t, agenttest.Valid(t, agenttest.Manifest(t).InputSchema, []byte(input)))
	w := newWorld(t, says("Yes."))
	result, stderr, code := w.research(t, input)
	require.Equal(t, 0, code, stderr)
	require.JSONEq(t, `{"answer":"Yes.","sources":[],"rounds":1}`, result)
	require.Equal(t, "large", w.asked[0].Model)
}

func TestWithoutGatewayOrModel(t *testing.T) {
	_, stderr, code := agenttest.Run(t, []byte(question), []string{asAgent}, os.Args[0])
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "the run has no gateway")

	w := newWorld(t)
	w.granted.Models = nil
	_, stderr, code = w.research(t, question)
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "the run is granted no model")
}

func TestWithoutTools(t *testing.T) {
	w := newWorld(t, says("It is high: https://made-up.example/"))
	w.granted.Tools = nil
	result, stderr, code := w.research(t, question)
	require.Equal(t, 0, code, stderr)
	require.JSONEq(t, `{"answer":"It is high: https://made-up.example/","sources":[],"rounds":1}`, result)
	require.Empty(t, w.asked[0].Tools)
	require.NotContains(t, w.report, "# Sources")
}

// A model that never ends gets no tools in the last round, and has to answer.
func TestLastRound(t *testing.T) {
	more := wants("web__search", `{"q":"more"}`)
	w := newWorld(t, more, more, says("I do not know."))
	result, stderr, code := w.research(t, `{"question":"q","max_rounds":3}`)
	require.Equal(t, 0, code, stderr)
	require.JSONEq(t, `{"answer":"I do not know.","sources":[],"rounds":3}`, result)
	require.Equal(t, []string{"", "", "none"}, []string{w.asked[0].ToolChoice, w.asked[1].ToolChoice, w.asked[2].ToolChoice})

	w = newWorld(t, more)
	result, stderr, code = w.research(t, `{"question":"q","max_rounds":1}`)
	require.Equal(t, 1, code)
	require.Empty(t, result)
	require.Contains(t, stderr, "research: the model gave no answer")
	require.Empty(t, w.queries)
}

// What a model asks for and a tool returns has bounds, and what fails the model reads.
func TestCalls(t *testing.T) {
	for name, test := range map[string]struct {
		wants  string
		search func(string) (string, bool)
		reads  string
		called int
	}{
		"unknown tool":         {wants: wants("web__none", `{}`), reads: "there is no such tool"},
		"tool not granted":     {wants: wants("web__buy", `{"q":"x"}`), reads: "there is no such tool"},
		"arguments cut off":    {wants: wants("web__search", `{"q":"x`), reads: "not a JSON object"},
		"arguments a list":     {wants: wants("web__search", `[1]`), reads: "not a JSON object"},
		"arguments null":       {wants: wants("web__search", `null`), reads: "not a JSON object"},
		"arguments too large":  {wants: wants("web__search", `{"q":"`+strings.Repeat("x", maxArguments)+`"}`), reads: "more than 32768 bytes"},
		"arguments of a fault": {wants: wants("web__search", `{"q":7}`), reads: "failed: "},
		"tool fails": {wants: wants("web__search", `{"q":"x"}`), reads: "failed: the index is gone", called: 1,
			search: func(string) (string, bool) { return "the index is gone", true }},
		"nothing is returned": {wants: wants("web__search", `{"q":"x"}`), reads: "done, without any text", called: 1,
			search: func(string) (string, bool) { return "", false }},
		"too much is returned": {wants: wants("web__search", `{"q":"x"}`), reads: "€", called: 1,
			search: func(string) (string, bool) { return "x" + strings.Repeat("€", 100_000), false }},
		"too many calls": {wants: wants("web__search", slices.Repeat([]string{`{"q":"x"}`}, maxCalls+3)...), reads: "no more than 24 calls", called: maxCalls},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, test.wants, says("Well."))
			if test.search != nil {
				w.search = test.search
			}
			_, stderr, code := w.research(t, question)
			require.Equal(t, 0, code, stderr)
			require.Len(t, w.queries, test.called)
			messages := w.asked[1].Messages
			last := messages[len(messages)-1]
			require.Equal(t, "tool", last.Role)
			require.Contains(t, last.Content, test.reads)
			require.LessOrEqual(t, len(last.Content), maxToolResult)
			require.True(t, utf8.ValidString(last.Content))
		})
	}
}

// A run whose budget is used up, or that does not go on, ends without a word: what it
// had put as a partial result is what counts.
func TestOver(t *testing.T) {
	for name, refuse := range map[string]func(*world, http.ResponseWriter){
		"budget": func(_ *world, out http.ResponseWriter) { problem(out, http.StatusPaymentRequired, "budget_exhausted") },
		"session": func(w *world, out http.ResponseWriter) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.closed = true
			problem(out, http.StatusConflict, "session_closed")
		},
		"connection lost, session over": func(w *world, _ http.ResponseWriter) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.closed = true
			panic(http.ErrAbortHandler)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, wants("web__search", `{"q":"x"}`))
			first := w.model
			w.model = func(out http.ResponseWriter, r *http.Request) {
				w.mu.Lock()
				round := len(w.asked)
				w.mu.Unlock()
				if round == 1 {
					first(out, r)
					return
				}
				refuse(w, out)
			}
			result, stderr, code := w.research(t, question)
			require.Equal(t, 0, code)
			require.Empty(t, result)
			require.Empty(t, stderr)
			require.Len(t, w.partials, 1)
			require.Contains(t, w.partials[0], "https://peaks.example/ararat")
			require.Empty(t, w.report)
		})
	}
}

// The session ends during a call of a tool, which MCP's client knows nothing of.
func TestOverInTool(t *testing.T) {
	w := newWorld(t, wants("web__search", `{"q":"x"}`, `{"q":"y"}`))
	w.search = func(string) (string, bool) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.closed = true
		return "late", false
	}
	result, stderr, code := w.research(t, question)
	require.Equal(t, 0, code)
	require.Empty(t, result)
	require.Empty(t, stderr)
	require.Len(t, w.queries, 1)
}

func TestModelFails(t *testing.T) {
	w := newWorld(t)
	w.model = func(out http.ResponseWriter, _ *http.Request) { problem(out, http.StatusBadRequest, "invalid_value") }
	_, stderr, code := w.research(t, question)
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "research: ask small: the gateway answered 400 invalid_value")

	w.model = func(out http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(out, `{"choices":[]}`) }
	_, stderr, code = w.research(t, question)
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "the answer is empty")
}

func TestSIGTERM(t *testing.T) {
	w := newWorld(t)
	waiting := make(chan struct{})
	w.model = func(_ http.ResponseWriter, r *http.Request) {
		close(waiting)
		<-r.Context().Done()
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = w.env(t)
	cmd.Stdin = strings.NewReader(question)
	require.NoError(t, cmd.Start())
	<-waiting
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(t, cmd.Wait())
}

func TestSources(t *testing.T) {
	r := research{}
	r.shown.add(`See https://a.example/x, (https://b.example/y_z) and {"url":"https://c.example/?q=1&r=2"}. Again: https://a.example/x`)
	r.shown.add("http://" + strings.Repeat("d", maxAddress) + " ftp://e.example")
	require.Empty(t, cmp.Diff(addresses{"https://a.example/x", "https://b.example/y_z", "https://c.example/?q=1&r=2"}, r.shown))
	r.said = "As **https://a.example/x** and [that](https://c.example/?q=1&r=2) say, but not https://a.example/xy."
	require.Equal(t, []string{"https://a.example/x", "https://c.example/?q=1&r=2"}, r.output().Sources)
	for i := range 2 * maxAddresses {
		r.shown.add(fmt.Sprintf("https://f.example/%d", i))
	}
	require.Len(t, r.shown, maxAddresses)
}
