// Probe is what the end-to-end test runs in pods: it tells from inside what a
// pod can reach and see.
package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"syscall"
	"time"
)

func main() {
	var err error
	switch os.Args[1] {
	case "dial":
		dial(os.Args[2:])
	case "addresses":
		err = addresses()
	case "serve":
		err = http.ListenAndServe(os.Args[2], http.NotFoundHandler())
	case "cat":
		err = cat(os.Args[2])
	case "write":
		err = os.WriteFile(os.Args[2], []byte("x"), 0o600)
	case "count":
		err = count(os.Args[2])
	case "wait":
		wait()
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

// dial tries all addresses at once and prints "ADDRESS open" or "ADDRESS closed".
func dial(targets []string) {
	verdicts := make([]string, len(targets))
	var wg sync.WaitGroup
	for i, target := range targets {
		wg.Go(func() {
			verdicts[i] = "closed"
			if conn, err := net.DialTimeout("tcp", target, 2*time.Second); err == nil {
				conn.Close()
				verdicts[i] = "open"
			}
		})
	}
	wg.Wait()
	for i, target := range targets {
		fmt.Println(target, verdicts[i])
	}
}

func addresses() error {
	all, err := net.InterfaceAddrs()
	for _, a := range all {
		fmt.Println(a)
	}
	return err
}

func cat(file string) error {
	raw, err := os.ReadFile(file)
	if err == nil {
		_, err = os.Stdout.Write(raw)
	}
	return err
}

// count prints a number every 100 ms.
func count(to string) error {
	n, err := strconv.Atoi(to)
	for i := range n {
		fmt.Println("line", i)
		time.Sleep(100 * time.Millisecond)
	}
	return err
}

// wait ends at SIGTERM, as a well-behaved agent does.
func wait() {
	fmt.Println("waiting")
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM)
	<-end
}
