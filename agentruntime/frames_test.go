package agentruntime_test

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"agentmarket/agentruntime"
)

func framed(t require.TestingT, body []byte) string {
	var b bytes.Buffer
	require.NoError(t, agentruntime.WriteFrames(&b, someNonce, body))
	return b.String()
}

func TestFramesRoundTrip(t *testing.T) {
	for _, size := range []int{1, 5760, 5761, 100_000, agentruntime.MaxResultBytes} {
		body := bytes.Repeat([]byte("0123456789"), size/10+1)[:size]
		log := framed(t, body)
		for line := range strings.Lines(log) {
			require.Less(t, len(line), 8<<10)
		}
		got, err := agentruntime.ReadFrames(iotest.OneByteReader(strings.NewReader("start\n"+log+"after\n")), someNonce)
		require.NoError(t, err)
		require.True(t, bytes.Equal(body, got), "size %d", size)
	}
}

func TestReadFramesSkipsEverythingElse(t *testing.T) {
	body := []byte(strings.Repeat("body", 5000))
	lines := strings.SplitAfter(framed(t, body), "\n")
	other := strings.ReplaceAll(lines[0], someNonce, strings.Repeat("f", 32))
	noise := strings.Repeat("y", 100_000)
	for name, log := range map[string]string{
		"noise":           noise + "\n" + strings.Join(lines, "noise\n\n"),
		"other nonce":     other + strings.Join(lines, other),
		"inside a line":   noise + lines[0] + "rest\n" + noise + lines[1] + strings.Join(lines[2:], ""),
		"repeated frames": lines[0] + lines[1] + lines[0] + lines[1] + strings.Join(lines[2:], ""),
		"CRLF":            strings.ReplaceAll(strings.Join(lines, ""), "\n", "\r\n"),
	} {
		got, err := agentruntime.ReadFrames(strings.NewReader(log), someNonce)
		require.NoError(t, err, name)
		require.True(t, bytes.Equal(body, got), name)
	}
}

func TestReadFramesRefusesDamage(t *testing.T) {
	lines := strings.SplitAfter(framed(t, []byte(strings.Repeat("body", 5000))), "\n")
	all := strings.Join(lines, "")
	mark := agentruntime.FrameMarker + someNonce + " "
	for name, log := range map[string]string{
		"missing frame": lines[0] + lines[2] + lines[3] + lines[4],
		"wrong end":     lines[0] + mark + "end 2\n",
		"no number":     mark + "x AAAA\n",
		"negative":      mark + "-1 AAAA\n",
		"no base64":     mark + "0 !!!!\n",
		"too large":     framed(t, make([]byte, agentruntime.MaxResultBytes+1)),
	} {
		_, err := agentruntime.ReadFrames(strings.NewReader(log), someNonce)
		require.Error(t, err, name)
		require.NotErrorIs(t, err, agentruntime.ErrNoFrames, name)
	}
	for _, log := range []string{"", "text\n", lines[0], all[:len(all)-1]} {
		_, err := agentruntime.ReadFrames(strings.NewReader(log), someNonce)
		require.ErrorIs(t, err, agentruntime.ErrNoFrames)
	}
	_, err := agentruntime.ReadFrames(iotest.ErrReader(io.ErrClosedPipe), someNonce)
	require.ErrorIs(t, err, io.ErrClosedPipe)
	_, err = agentruntime.ReadFrames(strings.NewReader(all), "nonce")
	require.Error(t, err)
	require.Error(t, agentruntime.WriteFrames(io.Discard, "nonce", nil))
}

func FuzzFrames(f *testing.F) {
	frames := framed(f, []byte(strings.Repeat("body", 3000)))
	f.Add([]byte(frames))
	f.Add([]byte("a\n" + frames[:9000] + "\nb"))
	f.Add([]byte(agentruntime.FrameMarker + someNonce + " 0 AAAA\n" + agentruntime.FrameMarker + someNonce + " end 1\n"))
	f.Fuzz(func(t *testing.T, log []byte) {
		body, err := agentruntime.ReadFrames(bytes.NewReader(log), someNonce)
		if err == nil {
			require.LessOrEqual(t, len(body), agentruntime.MaxResultBytes)
		}
	})
}
