package api_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/agentruntime"
	"agentmarket/api"
	"agentmarket/fault"
	"agentmarket/infra"
	"agentmarket/product"
)

func serveWithReadTimeout(t *testing.T, f *fixture, d time.Duration) *httptest.Server {
	t.Helper()
	server := httptest.NewUnstartedServer(nil)
	server.Config = api.NewHTTPServer("", f.server.Handler())
	server.Config.ReadTimeout = d
	server.Start()
	t.Cleanup(server.Close)
	return server
}

// liveLog is the log of a container that a test writes; it ends with the context
// of its reader.
func liveLog(ctx context.Context, _ infra.LogOptions, r *io.PipeReader) io.ReadCloser {
	context.AfterFunc(ctx, func() { _ = r.CloseWithError(ctx.Err()) })
	return r
}

// text is the live log of a container that has written this.
func text(body string) func(context.Context, infra.LogOptions) io.ReadCloser {
	return func(context.Context, infra.LogOptions) io.ReadCloser {
		return io.NopCloser(strings.NewReader(timed(agentruntime.LogStart + "\n" + body)))
	}
}

// timed is a log as the cluster hands it out and the archive keeps it.
func timed(body string) string {
	var log []byte
	at := now
	for line := range strings.Lines(body) {
		if !strings.HasPrefix(line, agentruntime.LogStart) {
			at = at.Add(time.Second)
		}
		log = infra.LogPiece{At: at, First: true, Text: []byte(line)}.AppendTo(log)
	}
	return string(log)
}

func TestLogsWithoutFollowing(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	run := f.started()
	path := "/v1/runs/" + string(run) + "/logs"
	got := f.get(path)
	require.Equal(t, http.StatusOK, got.status)
	require.Equal(t, "text/plain; charset=utf-8", got.header.Get("Content-Type"))
	require.Empty(t, got.text, "no log yet")

	f.begin(run, 1)
	require.Empty(t, f.get(path).text, "the container has not started")
	f.logs.set(infra.Ref{Run: run, Attempt: 1}, text("one\n"+agentruntime.FrameMarker+" nonce 0 AAAA\ntwo\n"))
	require.Equal(t, "one\ntwo\n", f.get(path).text)

	f.endAttempt(run, 1, infra.ReasonNodeLost, "first\n")
	require.Equal(t, "first\n", f.get(path).text)
	f.begin(run, 2)
	f.logs.set(infra.Ref{Run: run, Attempt: 2}, text("second"))
	require.Equal(t, "first\nsecond", f.get(path).text)
	f.endAttempt(run, 2, infra.ReasonOK, "second attempt\n")
	f.settle(run, product.ReasonOK, "1")
	require.Equal(t, "first\nsecond attempt\n", f.get(path).text, "each attempt has its own")
}

// TestLogsInParts: one attempt alone, with the times, and one that has lost its beginning.
func TestLogsInParts(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	run := f.started()
	path := "/v1/runs/" + string(run) + "/logs"
	f.begin(run, 1)
	f.endAttempt(run, 1, infra.ReasonNodeLost, "first\nof two\n")
	f.begin(run, 2)
	f.logs.set(infra.Ref{Run: run, Attempt: 2}, text("second\n"))

	const times = "2026-11-22T12:00:01.000000000Z first\n2026-11-22T12:00:02.000000000Z of two\n"
	require.Equal(t, times+"2026-11-22T12:00:01.000000000Z second\n", f.get(path+"?timestamps=true").text)
	require.Equal(t, times, f.get(path+"?timestamps=true&attempt=1&follow=true").text, "it has ended")
	require.Equal(t, "second\n", f.get(path+"?attempt=2").text)
	require.Empty(t, f.get(path+"?attempt=3").text)
	for _, wrong := range []string{"0", "101", "x"} {
		require.Equal(t, http.StatusUnprocessableEntity, f.get(path+"?attempt="+wrong).status)
	}

	f.logs.set(infra.Ref{Run: run, Attempt: 2}, func(context.Context, infra.LogOptions) io.ReadCloser {
		return io.NopCloser(strings.NewReader(timed("the rest\n")))
	})
	require.Equal(t, "[log truncated: its beginning has been rotated away on the node]\nthe rest\n", f.get(path+"?attempt=2").text)
}

// TestLogOfAnOlderRecord: what was kept before lines had times is shown as it is.
func TestLogOfAnOlderRecord(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	run := f.started()
	f.begin(run, 1)
	f.update(run, func(r *product.Run) []*product.Event {
		blob := f.blobs.put("runs/"+string(run)+"/attempts/1/log.txt", "plain text\n")
		event := r.AttemptEnded(1, product.End{Reason: product.ReasonOK, ExitCode: new(0), Log: &blob}, now)
		r.Log = &blob
		return []*product.Event{event}
	})
	require.Equal(t, "plain text\n", f.get("/v1/runs/"+string(run)+"/logs").text)
}

// TestLogsAreHarmless: what an agent writes does nothing to who looks at it, and can be
// had as it is.
func TestLogsAreHarmless(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	run := f.started()
	f.begin(run, 1)
	const log = "\x1b[2Jall gone\u202e\xff\n"
	f.logs.set(infra.Ref{Run: run, Attempt: 1}, text(log))
	path := "/v1/runs/" + string(run) + "/logs"
	require.Equal(t, "␛[2Jall gone\ufffd\ufffd\n", f.get(path).text)
	f.endAttempt(run, 1, infra.ReasonOK, log+"\xe2\x82")
	f.settle(run, product.ReasonOK, "1")
	require.Equal(t, "␛[2Jall gone\ufffd\ufffd\n\ufffd", f.get(path).text, "also from the archive")
	raw := f.get(path + "?raw=true")
	require.Equal(t, log+"\xe2\x82", raw.text)
	require.Equal(t, "application/octet-stream", raw.header.Get("Content-Type"))
	require.Equal(t, `attachment; filename="`+string(run)+`.log"`, raw.header.Get("Content-Disposition"))
	require.Equal(t, "nosniff", raw.header.Get("X-Content-Type-Options"))
}

// TestFollowLogs follows a run from before its first container through a log
// that breaks off and a second attempt to the end.
func TestFollowLogs(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.http.Close()
	f.http = serveWithReadTimeout(t, f, 300*time.Millisecond)
	run := f.started()
	response, err := http.DefaultClient.Do(f.request(t.Context(), call{method: http.MethodGet, path: "/v1/runs/" + string(run) + "/logs?follow=true"}))
	require.NoError(t, err)
	defer response.Body.Close()
	require.Equal(t, http.StatusOK, response.StatusCode, "the head comes before the first byte of the log")
	lines := bufio.NewReader(response.Body)
	next := func() string {
		line, err := lines.ReadString('\n')
		require.NoError(t, err)
		return line
	}

	reader, writer := io.Pipe()
	f.logs.set(infra.Ref{Run: run, Attempt: 1}, func(ctx context.Context, o infra.LogOptions) io.ReadCloser {
		require.True(t, o.Follow)
		return liveLog(ctx, o, reader)
	})
	f.begin(run, 1)
	fmt.Fprint(writer, timed(agentruntime.LogStart+"\none\n"))
	require.Equal(t, "one\n", next(), "a line is passed on at once")
	// The stream breaks; the next one begins anew.
	f.logs.set(infra.Ref{Run: run, Attempt: 1}, text("one\ntwo\n"))
	require.NoError(t, writer.CloseWithError(io.ErrUnexpectedEOF))
	require.Equal(t, "two\n", next(), "nothing is told twice")

	f.endAttempt(run, 1, infra.ReasonNodeLost, "one\ntwo\nthree\n")
	require.Equal(t, "three\n", next(), "the archive has the rest")
	f.begin(run, 2)
	f.logs.set(infra.Ref{Run: run, Attempt: 2}, text("four\n"))
	require.Equal(t, "four\n", next())
	f.endAttempt(run, 2, infra.ReasonOK, "four\n")
	f.settle(run, product.ReasonOK, "1")
	_, err = lines.ReadByte()
	require.ErrorIs(t, err, io.EOF, "ends with the run")
	require.NotContains(t, f.log.String(), `"client_gone":true`)
}

// A live log that hangs when its attempt has ended must not hold the follower.
func TestFollowLeavesALogThatHangs(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	run := f.started()
	reader, writer := io.Pipe()
	t.Cleanup(func() { _ = writer.Close() })
	f.begin(run, 1)
	opened := make(chan struct{})
	f.logs.set(infra.Ref{Run: run, Attempt: 1}, func(ctx context.Context, o infra.LogOptions) io.ReadCloser {
		close(opened)
		return liveLog(ctx, o, reader)
	})
	go func() {
		<-opened
		f.endAttempt(run, 1, infra.ReasonNodeLost, "all of it\n")
		f.settle(run, product.ReasonPlatformError, "")
	}()
	got := f.get("/v1/runs/" + string(run) + "/logs?follow=true")
	require.Equal(t, "all of it\n", got.text)
}

func TestFollowersAreBounded(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(s *api.Server) { s.MaxFollowers = 1 })
	run := f.started()
	path := "/v1/runs/" + string(run) + "/logs?follow=true"
	ctx, leave := context.WithCancel(t.Context())
	response, err := http.DefaultClient.Do(f.request(ctx, call{method: http.MethodGet, path: path}))
	require.NoError(t, err)
	defer response.Body.Close()
	requireProblem(t, want{429, "too_many_streams", "Too many open streams",
		"this server has no room for another open stream", nil, nil, map[string]string{"Retry-After": "5"}}, path, f.get(path))
	require.Equal(t, http.StatusOK, f.get("/v1/runs/"+string(run)+"/logs").status, "whoever does not follow needs no place")
	leave()
	f.settle(run, product.ReasonPlatformError, "")
	require.Eventually(t, func() bool { return f.get(path).status == http.StatusOK },
		5*time.Second, 20*time.Millisecond, "a client that left gives its place back")
}

func TestLogsThatCannotBeReadAreAProblem(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	run := f.started()
	f.begin(run, 1)
	f.logs.set(infra.Ref{Run: run, Attempt: 1}, nil)
	f.logs.fail(fault.Wrap(fault.Unavailable, io.ErrUnexpectedEOF, "secret address"))
	path := "/v1/runs/" + string(run) + "/logs"
	requireProblem(t, want{503, "unavailable", "A part of the platform does not answer",
		"a part of the platform does not answer at the moment; try again", nil, nil, nil}, path, f.get(path))
}

func TestListEvents(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	run := f.started()
	f.begin(run, 1)
	path := "/v1/runs/" + string(run) + "/events"
	body := f.get(path + "?limit=2").json(t)
	require.Len(t, body["items"], 2)
	require.EqualValues(t, 2, body["next_after"])
	body = f.get(path + "?after=2").json(t)
	require.Nil(t, body["next_after"])
	require.Equal(t, []any{map[string]any{
		"seq": float64(3), "type": "attempt_started", "at": now.Format(time.RFC3339), "attempt": float64(1),
	}}, body["items"])
}

func TestEventStream(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	run := f.started()
	path := "/v1/runs/" + string(run) + "/events"
	stream := map[string]string{"Accept": "text/event-stream"}
	response, err := http.DefaultClient.Do(f.request(t.Context(), call{method: http.MethodGet, path: path, header: stream}))
	require.NoError(t, err)
	defer response.Body.Close()
	require.Equal(t, "text/event-stream", response.Header.Get("Content-Type"))
	lines := bufio.NewReader(response.Body)
	first, err := lines.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "id: 1\n", first)
	f.begin(run, 1)
	f.endAttempt(run, 1, infra.ReasonOK, "log")
	f.settle(run, product.ReasonOK, "1")
	rest, err := io.ReadAll(lines)
	require.NoError(t, err, "ends with the run")
	require.Equal(t, 4, strings.Count(string(rest), "\nid: "))
	require.Contains(t, string(rest), "id: 5\nevent: ended\ndata: {\"seq\":5,\"type\":\"ended\"")

	stream["Last-Event-ID"] = "3"
	replayed := f.do(call{method: http.MethodGet, path: path, header: stream})
	require.True(t, strings.HasPrefix(replayed.text, "id: 4\n"), replayed.text)
	require.True(t, strings.HasSuffix(string(rest), replayed.text))
	stream["Last-Event-ID"] = "5"
	require.Equal(t, http.StatusNoContent, f.do(call{method: http.MethodGet, path: path, header: stream}).status)
	stream["Last-Event-ID"] = "x"
	require.Equal(t, http.StatusUnprocessableEntity, f.do(call{method: http.MethodGet, path: path, header: stream}).status)
}
