// Package testenv makes the world that tests run in.
package testenv

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"agentmarket/internal/freeport"
)

// Main is the TestMain of a package whose tests call [Postgres]: it runs the
// tests, stops what they started and exits.
//
//	func TestMain(m *testing.M) { testenv.Main(m) }
func Main(m *testing.M) {
	shared.hasMain = true
	code := m.Run()
	if shared.server != nil {
		if err := shared.server.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, "stop PostgreSQL:", err)
			code = max(code, 1)
		}
	}
	os.Exit(code)
}

var shared struct {
	hasMain bool
	once    sync.Once
	server  *PostgresServer
	err     error
}

// Postgres returns the throwaway PostgreSQL server of this test process and
// starts it with the first call. It never skips: without PostgreSQL's programs
// the test fails and says which package has them.
func Postgres(tb testing.TB) *PostgresServer {
	tb.Helper()
	if !shared.hasMain {
		tb.Fatal("testenv.Postgres needs TestMain to call testenv.Main, which stops the server")
	}
	shared.once.Do(func() { shared.server, shared.err = StartPostgres() })
	if shared.err != nil {
		tb.Fatalf("start PostgreSQL: %v", shared.err)
	}
	return shared.server
}

// PostgresServer is a PostgreSQL server with an empty data folder, for one test
// process. It trusts everybody on the loopback interface and never syncs, unless it is
// durable.
type PostgresServer struct {
	bin        string // folder of PostgreSQL's programs
	credential *syscall.Credential
	durable    bool
	folder     string
	port       int
	process    *exec.Cmd
	gone       chan struct{} // closed when the process has ended
	stop       sync.Once

	databases sync.Mutex
	count     int
}

const (
	// folderPattern names the folders, so that a later process finds what a
	// killed one left.
	folderPattern = "agentmarket-postgres-"
	superuser     = "postgres"
	readyTimeout  = time.Minute
	stopTimeout   = 20 * time.Second
)

// StartPostgres starts a server. Call Stop at the end; should this process die
// before, the kernel stops the server.
func StartPostgres() (*PostgresServer, error) { return newPostgres(false) }

func newPostgres(durable bool) (*PostgresServer, error) {
	bin, err := postgresPrograms()
	if err != nil {
		return nil, err
	}
	credential, err := unprivileged()
	if err != nil {
		return nil, err
	}
	removeAbandoned()
	folder, err := os.MkdirTemp("", folderPattern+strconv.Itoa(os.Getpid())+"-")
	if err != nil {
		return nil, fmt.Errorf("make data folder: %w", err)
	}
	s := &PostgresServer{bin: bin, credential: credential, durable: durable, folder: folder, gone: make(chan struct{})}
	if err := s.initialize(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(folder))
	}
	if err := s.start(); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return s, nil
}

// initialize makes the data folder and finds a port.
func (s *PostgresServer) initialize() error {
	if s.credential != nil {
		if err := os.Chown(s.folder, int(s.credential.Uid), int(s.credential.Gid)); err != nil {
			return fmt.Errorf("hand over data folder: %w", err)
		}
	}
	initdb := exec.Command(filepath.Join(s.bin, "initdb"), "-D", s.dataFolder(), "-U", superuser, "-A", "trust",
		"-E", "UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions")
	initdb.Dir = s.folder
	initdb.SysProcAttr = &syscall.SysProcAttr{Credential: s.credential}
	if out, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("run initdb: %w\n%s", err, out)
	}
	ports, err := freeport.Find(1)
	if err != nil {
		return err
	}
	s.port = ports[0]
	return nil
}

// start starts the process and waits until it answers.
func (s *PostgresServer) start() error {
	log, err := os.OpenFile(s.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("open log file: %w", err)
	}
	defer func() { _ = log.Close() }()
	args := []string{"-D", s.dataFolder(), "-p", strconv.Itoa(s.port),
		"-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=" + s.folder,
		"-c", "max_connections=200", "-c", "shared_buffers=64MB", "-c", "autovacuum=off"}
	if !s.durable {
		args = append(args, "-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off")
	}
	s.process = exec.Command(filepath.Join(s.bin, "postgres"), args...)
	s.process.Dir = s.folder
	s.process.Stdout, s.process.Stderr = log, log
	s.process.SysProcAttr = &syscall.SysProcAttr{
		Credential: s.credential,
		// Immediate shutdown, children included, when this process dies. A group
		// of its own keeps Ctrl-C from reaching the server before the tests end.
		Pdeathsig: syscall.SIGQUIT, Setpgid: true,
	}
	if err := s.launch(); err != nil {
		return err
	}
	if err := s.awaitReady(); err != nil {
		text, _ := os.ReadFile(s.logFile())
		return fmt.Errorf("%w\n%s", err, text)
	}
	return nil
}

func (s *PostgresServer) logFile() string    { return filepath.Join(s.folder, "server.log") }
func (s *PostgresServer) dataFolder() string { return filepath.Join(s.folder, "data") }

// launch starts the process from an operating-system thread that lives as long
// as the process does: the parent in Pdeathsig is the thread, not the process.
func (s *PostgresServer) launch() error {
	started := make(chan error)
	process, gone := s.process, s.gone // of this start
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		err := process.Start()
		started <- err
		if err == nil {
			_ = process.Wait()
			close(gone)
		}
	}()
	if err := <-started; err != nil {
		close(gone)
		return fmt.Errorf("start postgres: %w", err)
	}
	return nil
}

func (s *PostgresServer) awaitReady() error {
	ctx, cancel := context.WithTimeout(context.Background(), readyTimeout)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := pgx.Connect(ctx, s.URL("postgres"))
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-s.gone:
			return errors.New("postgres ended while it was starting")
		case <-ctx.Done():
			return fmt.Errorf("wait for postgres: %w", err)
		case <-tick.C:
		}
	}
}

// Stop ends the server at once and removes its data.
func (s *PostgresServer) Stop() error {
	var err error
	s.stop.Do(func() {
		if s.process != nil && s.process.Process != nil {
			_ = s.process.Process.Signal(syscall.SIGQUIT)
			select {
			case <-s.gone:
			case <-time.After(stopTimeout):
				err = errors.New("postgres did not stop; it was killed")
				_ = s.process.Process.Kill()
				<-s.gone
			}
		}
		err = errors.Join(err, os.RemoveAll(s.folder))
	})
	return err
}

// Address is the server's, HOST:PORT.
func (s *PostgresServer) Address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// URL is the connection URL of a database of the server.
func (s *PostgresServer) URL(database string) string {
	u := url.URL{Scheme: "postgres", User: url.User(superuser), Path: "/" + database,
		Host: s.Address(), RawQuery: "sslmode=disable"}
	return u.String()
}

// CreateDatabase makes a database, as a copy of template where one is named, and
// returns its name. Nobody may be connected to the template.
func (s *PostgresServer) CreateDatabase(ctx context.Context, template string) (string, error) {
	if template == "" {
		template = "template0"
	}
	// One at a time: two copies of one template get in each other's way.
	s.databases.Lock()
	defer s.databases.Unlock()
	s.count++
	name := "test_" + strconv.Itoa(s.count)
	return name, s.Exec(ctx, fmt.Sprintf("CREATE DATABASE %s TEMPLATE %s",
		pgx.Identifier{name}.Sanitize(), pgx.Identifier{template}.Sanitize()))
}

// DropDatabase removes a database and whoever is connected to it.
func (s *PostgresServer) DropDatabase(ctx context.Context, name string) error {
	return s.Exec(ctx, fmt.Sprintf("DROP DATABASE IF EXISTS %s WITH (FORCE)", pgx.Identifier{name}.Sanitize()))
}

// Exec runs a statement as the superuser in the database postgres.
func (s *PostgresServer) Exec(ctx context.Context, statement string, args ...any) error {
	conn, err := pgx.Connect(ctx, s.URL("postgres"))
	if err != nil {
		return fmt.Errorf("connect as superuser: %w", err)
	}
	_, err = conn.Exec(ctx, statement, args...)
	return errors.Join(err, conn.Close(ctx))
}

// Strings runs a query as the superuser and returns the first column of what it finds,
// a text. The tests look past the code under test with it.
func (s *PostgresServer) Strings(ctx context.Context, database, query string) ([]string, error) {
	conn, err := pgx.Connect(ctx, s.URL(database))
	if err != nil {
		return nil, fmt.Errorf("connect as superuser: %w", err)
	}
	rows, err := conn.Query(ctx, query)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("query database %s: %w", database, err), conn.Close(ctx))
	}
	found, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return found, errors.Join(err, conn.Close(ctx))
}

// postgresPrograms finds the folder with initdb and postgres: the newest version
// of Debian's packages, else what PATH has.
func postgresPrograms() (string, error) {
	folders, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	slices.SortFunc(folders, func(a, b string) int { return majorVersion(b) - majorVersion(a) })
	if path, err := exec.LookPath("initdb"); err == nil {
		folders = append(folders, filepath.Dir(path))
	}
	for _, folder := range folders {
		_, err1 := os.Stat(filepath.Join(folder, "initdb"))
		_, err2 := os.Stat(filepath.Join(folder, "postgres"))
		if err1 == nil && err2 == nil {
			return folder, nil
		}
	}
	return "", errors.New("initdb and postgres are neither in /usr/lib/postgresql/*/bin nor in PATH: " +
		"install the Debian package postgresql (apt-get install postgresql)")
}

func majorVersion(bin string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(bin)))
	return n
}

// unprivileged returns whom the server runs as, for it refuses root. nil means
// the user of this process.
func unprivileged() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		if err1 == nil && err2 == nil {
			return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
		}
	}
	return nil, errors.New("PostgreSQL does not run as root, and there is no user postgres or nobody")
}

// removeAbandoned removes the folders of test processes that were killed.
func removeAbandoned() {
	folders, _ := filepath.Glob(filepath.Join(os.TempDir(), folderPattern+"*"))
	for _, folder := range folders {
		pid, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(folder), folderPattern), "-")
		if n, err := strconv.Atoi(pid); err == nil && errors.Is(syscall.Kill(n, 0), syscall.ESRCH) {
			_ = os.RemoveAll(folder)
		}
	}
}
