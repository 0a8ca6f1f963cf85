package infra

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/agentruntime"
)

var logBegins = time.Date(2026, 3, 1, 9, 30, 0, 0, time.UTC)

// timedLog is a log with these lines; those that begin with "=" have the time of the
// one before.
func timedLog(lines ...string) string {
	var log []byte
	at := logBegins
	for _, line := range lines {
		text, same := strings.CutPrefix(line, "=")
		if !same {
			at = at.Add(time.Millisecond)
		}
		log = LogPiece{At: at, First: true, Text: []byte(text)}.AppendTo(log)
	}
	return string(log)
}

// readLog reads to the end or to an error.
func readLog(r *LogReader) (string, error) {
	var text strings.Builder
	for {
		piece, err := r.Next()
		if err != nil {
			return text.String(), err
		}
		text.Write(piece.Text)
	}
}

const frame = agentruntime.FrameMarker + "00112233445566778899aabbccddeeff 0 AAAA\n"

// TestLogGoesOn: wherever a log breaks off, the next reader goes on at that byte,
// whatever of the older lines is still there.
func TestLogGoesOn(t *testing.T) {
	long := strings.Repeat("x", 3*logPiece) + "\n"
	lines := []string{agentruntime.LogStart + "\n", "one\n", "=two\n", "=three\n", "\n", long, frame, "=four\n", "five"}
	log := timedLog(lines...)
	const want = "one\ntwo\nthree\n\n%sfour\nfive"
	for at := 0; at <= len(log); at++ {
		if at > 300 && at < len(log)-300 && at%997 != 0 {
			continue
		}
		first := NewLogReader(io.MultiReader(strings.NewReader(log[:at]), iotest.ErrReader(io.ErrUnexpectedEOF)), LogPosition{})
		before, err := readLog(first)
		require.ErrorIs(t, err, io.ErrUnexpectedEOF)
		// A stamp that is cut is no line: the cluster hands out whole ones.
		if strings.Contains(before, "2026-") {
			t.Fatalf("at %d: %q", at, before)
		}
		again := NewLogReader(iotest.HalfReader(strings.NewReader(log)), first.Position())
		after, err := readLog(again)
		require.ErrorIs(t, err, io.EOF)
		if fmt.Sprintf(want, long) != before+after { // require.Equal would print all of it
			t.Fatalf("broken at %d: %.100q %.100q", at, before, after)
		}
	}
}

func TestLogGoesOnWhereItsBeginningIsGone(t *testing.T) {
	lines := []string{agentruntime.LogStart + "\n", "one\n", "two\n", "three\n", "four\n"}
	first := NewLogReader(strings.NewReader(timedLog(lines[:3]...)), LogPosition{})
	text, err := readLog(first)
	require.ErrorIs(t, err, io.EOF)
	require.Equal(t, "one\ntwo\n", text)
	require.False(t, first.Beheaded())

	rotated := timedLog(lines...)
	rotated = rotated[strings.Index(rotated, "four")-len("2006-01-02T15:04:05.000000000Z "):]
	text, err = readLog(NewLogReader(strings.NewReader(rotated), first.Position()))
	require.ErrorIs(t, err, io.EOF)
	require.Equal(t, "four\n", text, "what is newer comes")

	fresh := NewLogReader(strings.NewReader(rotated), LogPosition{})
	_, _ = readLog(fresh)
	require.True(t, fresh.Beheaded())

	// The rest of a long line that is older than what was asked for has no time.
	text, err = readLog(NewLogReader(strings.NewReader("rest of a line\n"+timedLog(lines...)), first.Position()))
	require.ErrorIs(t, err, io.EOF)
	require.Equal(t, "three\nfour\n", text)
}

// TestLogOfAClockThatWasSetBack: a time tells what was read before, and nothing else.
func TestLogOfAClockThatWasSetBack(t *testing.T) {
	log := timedLog(agentruntime.LogStart+"\n", "one\n") + timedLog("two\n", "three\n")
	first := NewLogReader(strings.NewReader(log[:strings.Index(log, "one\n")+4]), LogPosition{})
	_, err := readLog(first)
	require.ErrorIs(t, err, io.EOF)
	text, err := readLog(NewLogReader(strings.NewReader(log), first.Position()))
	require.ErrorIs(t, err, io.EOF)
	require.Equal(t, "two\nthree\n", text)
}

// FuzzLog: no bytes make the reader panic or hang, and what a container writes comes
// back as it is, but for what travels in frames.
func FuzzLog(f *testing.F) {
	f.Add([]byte(timedLog(agentruntime.LogStart+"\n", "one\n", frame, "=two\n")))
	f.Add([]byte("no time\n2026-03-01T09:30:00Z x"))
	f.Fuzz(func(t *testing.T, log []byte) {
		text, err := readLog(NewLogReader(strings.NewReader(string(log)), LogPosition{}))
		require.ErrorIs(t, err, io.EOF)
		require.LessOrEqual(t, len(text), len(log))
		var want strings.Builder
		var lines []string
		for line := range strings.Lines(string(log)) {
			if line[0] == '=' { // says something to timedLog
				return
			}
			lines = append(lines, line)
			if !strings.HasPrefix(line, string(rune(agentruntime.FrameByte))) {
				want.WriteString(line)
			}
		}
		whole := timedLog(lines...)
		text, err = readLog(NewLogReader(strings.NewReader(whole), LogPosition{}))
		require.ErrorIs(t, err, io.EOF)
		require.Equal(t, want.String(), text)
	})
}

// TestTheLogEndsWhereTheSupervisorSaysSo: also while the container goes on.
func TestTheLogEndsWhereTheSupervisorSaysSo(t *testing.T) {
	read, write := io.Pipe()
	t.Cleanup(func() { _ = write.Close() })
	go func() { // and then nothing more, nor an end
		_, _ = io.WriteString(write, "2026-11-22T10:00:00Z "+agentruntime.LogStart+"\n2026-11-22T10:00:01Z hello\n2026-11-22T10:00:02Z "+agentruntime.LogEnd+"\n")
	}()
	log := NewLogReader(read, LogPosition{})
	piece, err := log.Next()
	require.NoError(t, err)
	require.Equal(t, "hello\n", string(piece.Text))
	_, err = log.Next()
	require.ErrorIs(t, err, io.EOF)
	require.False(t, log.Beheaded())
}
