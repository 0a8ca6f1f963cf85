package egress

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/ids"
)

// TestWhoIsAskedFor: what is not TLS, or is for somebody else, does not reach the host.
func TestWhoIsAskedFor(t *testing.T) {
	whole := hello(named(granted))
	message := whole[5:]
	for name, tt := range map[string]struct {
		says    []byte
		outcome Outcome
	}{
		"the host":           {whole, Closed},
		"in capitals":        {hello(named("API.Example.COM")), Closed},
		"in two records":     {slices.Concat(record(message[:20]), record(message[20:])), Closed},
		"with more behind":   {append(slices.Clone(whole), "early data"...), Closed},
		"another":            {hello(named("other.example.com")), NameOther},
		"below":              {hello(named("a.api.example.com")), NameOther},
		"another letter":     {hello(named("api.example.co\u212a")), NameOther},
		"longer":             {hello(named("api.example.com.evil.test")), NameOther},
		"with a NUL":         {hello(named("api.example.com\x00")), NameOther},
		"no name":            {hello(), NameHidden},
		"hidden":             {hello(named(granted), extension(extensionECH, append([]byte{0, 0, 1, 0, 1, 0, 0, 0, 0, 1}, 0))), NameHidden},
		"inner":              {hello(named(granted), extension(extensionECH, []byte{1})), NameHidden},
		"two names":          {hello(named(granted), named("other.example.com")), HelloInvalid},
		"dot":                {hello(named("api.example.com.")), HelloInvalid},
		"an empty name":      {hello(named("")), HelloInvalid},
		"plain HTTP":         {[]byte("GET / HTTP/1.1\r\nHost: api.example.com\r\n\r\n"), HelloInvalid},
		"another protocol":   {[]byte("SSH-2.0-OpenSSH_9.9\r\n"), HelloInvalid},
		"cut":                {record(append([]byte{1, 0, 1, 0}, make([]byte, 256)...)), HelloInvalid},
		"too long a record":  {append([]byte{22, 3, 1, 0xff, 0xff}, make([]byte, 1<<16)...), HelloInvalid},
		"too long a message": {slices.Concat(record(append([]byte{1, 0, 0xff, 0xff}, make([]byte, 16000)...)), record(make([]byte, 16000))), HelloInvalid},
		"another message":    {record([]byte{2, 0, 0, 1, 0}), HelloInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			heard := make(chan string, 1)
			target := w.serves(granted, func(conn net.Conn) {
				text, _ := io.ReadAll(conn)
				heard <- string(text)
			})
			c := w.connect(target)
			require.Equal(t, http.StatusOK, c.status)
			_, _ = c.Write(tt.says) // it may be refused before its end
			_ = c.Conn.(*net.TCPConn).CloseWrite()
			if tt.outcome == Closed {
				require.Equal(t, string(tt.says), <-heard)
			} else {
				require.Empty(t, <-heard)
			}
			end := w.left(1)[0]
			require.Equal(t, tt.outcome, end.Outcome)
			if tt.outcome != Closed {
				require.Zero(t, end.Sent)
			}
		})
	}
}

// TestRefusedClientsSeeWhy: as far as TLS has a word for it.
func TestRefusedClientsSeeWhy(t *testing.T) {
	w := newWorld(t)
	c := w.connect(w.serves(granted, echo))
	err := tls.Client(c, &tls.Config{ServerName: "other.example.com", MinVersion: tls.VersionTLS12}).HandshakeContext(t.Context())
	require.ErrorContains(t, err, "unrecognized name")
}

func TestSlowClient(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Limits.HelloTimeout = 50 * time.Millisecond })
	c := w.connect(w.serves(granted, echo))
	whole := hello(named(granted))
	_, err := c.Write(whole[:20])
	require.NoError(t, err)
	_, _ = io.ReadAll(c)
	require.Equal(t, HelloInvalid, w.outcome())
}

// TestEager: a client that does not wait for the answer.
func TestEager(t *testing.T) {
	w := newWorld(t)
	whole := hello(named(granted))
	c := w.connect(w.serves(granted, echo), whole...)
	back := make([]byte, len(whole))
	_, err := io.ReadFull(c, back)
	require.NoError(t, err)
	require.Equal(t, whole, back)
}

func TestHalfClosed(t *testing.T) {
	w := newWorld(t)
	c := w.connect(w.serves(granted, func(conn net.Conn) {
		all, _ := io.ReadAll(conn) // what it says it says when it has heard everything
		_, _ = fmt.Fprintf(conn, "%d bytes", len(all))
	}))
	whole := hello(named(granted))
	_, err := c.Write(append(slices.Clone(whole), "more"...))
	require.NoError(t, err)
	require.NoError(t, c.Conn.(*net.TCPConn).CloseWrite())
	text, err := io.ReadAll(c)
	require.NoError(t, err)
	require.Equal(t, fmt.Sprintf("%d bytes", len(whole)+4), string(text))
	end := w.left(1)[0]
	require.Equal(t, Closed, end.Outcome)
	require.EqualValues(t, len(whole)+4, end.Sent)
	require.EqualValues(t, len(text), end.Received)
}

func TestIdle(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Limits.IdleTimeout = 200 * time.Millisecond })
	target := w.serves(granted, func(conn net.Conn) {
		_, _ = conn.Read(make([]byte, 1<<10))
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for range 30 { // longer than the agent may say nothing
			<-tick.C
			if _, err := conn.Write([]byte("x")); err != nil {
				return
			}
		}
		_, _ = io.Copy(io.Discard, conn)
	})
	c := w.connect(target, hello(named(granted))...)
	text, _ := io.ReadAll(c)
	require.Len(t, text, 30, "one side that talks keeps it open")
	require.Equal(t, Idle, w.outcome())
}

func TestSessionEnds(t *testing.T) {
	w := newWorld(t)
	ended := make(chan struct{})
	w.session.Ended = ended
	target := w.serves(granted, echo)
	talks, waits := w.connect(target), w.connect(target)
	talks.says(t, hello(named(granted)))
	close(ended)
	_, _ = io.ReadAll(talks)
	_, _ = io.ReadAll(waits)
	for _, end := range w.left(2) {
		require.Equal(t, SessionEnded, end.Outcome)
	}
}

func TestStop(t *testing.T) {
	w := newWorld(t)
	target := w.serves(granted, echo)
	c := w.connect(target)
	c.says(t, hello(named(granted)))
	w.proxy.Close()
	require.Equal(t, Stopped, w.ended[0].Outcome, "the end is kept when Close returns")
	require.Equal(t, http.StatusForbidden, w.connect(target).status)
	require.Len(t, w.begun, 1)
}

func TestLimits(t *testing.T) {
	t.Run("at once", func(t *testing.T) {
		w := newWorld(t, func(c *Config) { c.Limits.AtOnce = 2 })
		target := w.serves(granted, echo)
		one := w.connect(target)
		w.connect(target)
		require.Equal(t, "egress_too_many", w.connect(target).code)
		require.Equal(t, http.StatusOK, w.connectAs("run_2", target).status, "of another run")
		_ = one.Close()
		w.left(1)
		require.Equal(t, http.StatusOK, w.connect(target).status)
	})
	t.Run("a minute", func(t *testing.T) {
		now := time.Now()
		w := newWorld(t, func(c *Config) { c.Limits.PerMinute = 3; c.Now = func() time.Time { return now } })
		for range 3 {
			require.Equal(t, "egress_not_granted", w.connect("a.example.com:443").code)
		}
		require.Equal(t, "egress_too_many", w.connect("a.example.com:443").code)
		require.Equal(t, "egress_not_granted", w.connectAs("run_2", "a.example.com:443").code)
		now = now.Add(21 * time.Second)
		require.Equal(t, "egress_not_granted", w.connect("a.example.com:443").code)
	})
	t.Run("bytes", func(t *testing.T) {
		w := newWorld(t, func(c *Config) { c.Limits.Bytes = 1 << 20 })
		target := w.serves(granted, func(conn net.Conn) {
			for {
				if _, err := conn.Write(make([]byte, 4096)); err != nil {
					return
				}
			}
		})
		n, _ := io.Copy(io.Discard, w.connect(target, hello(named(granted))...))
		require.LessOrEqual(t, n, int64(1<<20))
		end := w.left(1)[0]
		require.Equal(t, BytesUsedUp, end.Outcome)
		require.Greater(t, end.Received, int64(1<<20-2*bufferSize))
		require.LessOrEqual(t, end.Sent+end.Received, int64(1<<20))
		require.Equal(t, "egress_used_up", w.connect(target).code)
		require.Equal(t, http.StatusOK, w.connectAs("run_2", target).status)
	})
	t.Run("of all", func(t *testing.T) {
		w := newWorld(t, func(c *Config) { c.Limits.Total = 1 })
		target := w.serves(granted, echo)
		require.Equal(t, http.StatusOK, w.connect(target).status)
		require.Equal(t, http.StatusForbidden, w.connectAs("run_2", target).status)
	})
	t.Run("records of refusals", func(t *testing.T) {
		w := newWorld(t, func(c *Config) { c.Limits.PerMinute = 2 * maxRefusals })
		for range maxRefusals + 10 {
			require.Equal(t, "egress_not_granted", w.connect("a.example.com:443").code)
		}
		w.left(maxRefusals)
	})
	t.Run("are forgotten", func(t *testing.T) {
		now := time.Now()
		l := newLimits(func() time.Time { return now }, Limits{AtOnce: 1, PerMinute: 1, Bytes: 1, Total: 1})
		use, err := l.enter("run_1")
		require.NoError(t, err)
		now = now.Add(2 * forgetAfter)
		_, err = l.enter("run_2")
		require.Error(t, err)
		require.Contains(t, l.runs, ids.Run("run_1"))
		l.leave(use)
		now = now.Add(2 * forgetAfter)
		_, err = l.enter("run_3")
		require.NoError(t, err)
		require.Len(t, l.runs, 1)
	})
}
