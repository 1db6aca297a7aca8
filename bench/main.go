// Command bench measures the reference farm beside its peers: libraries in
// this process, servers and load tools where they are installed. It is a
// module of its own, so that what the peers need stays out of the product.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/farmspec/farmspec/simfarm/speed"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	work := func() error { return run(ctx) }
	if users, err := strconv.Atoi(os.Getenv(farmVariable)); err == nil {
		work = func() error { return serveFarm(users) }
	}
	err := work()
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) (err error) {
	rounds := flag.Int("rounds", 6, "rounds of each case, in turns; six or more for an interval of 95 %")
	total := flag.Duration("time", time.Minute, "about how long all of it takes, without load clients, which take a few seconds a round")
	only := flag.String("only", "", "regular expression: the names of the cases to measure (default all)")
	out := flag.String("out", "", "folder for bench.json and bench.txt, which benchstat reads (default none)")
	flag.Parse()
	pattern, err := regexp.Compile(*only)
	if err != nil {
		return fmt.Errorf("--only: %w", err)
	}
	if flag.NArg() > 0 || *rounds < 1 || *total <= 0 {
		return fmt.Errorf("want flags only, with --rounds and --time above zero; see --help")
	}
	h, err := newHost()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.Close()) }()
	o := speed.Options{Cases: slices.Concat(speed.Standard(), libraries(), h.servers(), h.clients()), Goals: slices.Concat(speed.Goals(), goals()), Rounds: *rounds,
		Progress: func(step, of int, name string) { fmt.Fprintf(os.Stderr, "\r\x1b[K%d/%d %s", step+1, of, name) }}
	o.Cases = slices.DeleteFunc(o.Cases, func(c speed.Case) bool { return !pattern.MatchString(c.Name) })
	if len(o.Cases) == 0 {
		return fmt.Errorf("--only %q matches no case", *only)
	}
	o.Time = *total / time.Duration(*rounds*len(o.Cases))
	result, err := speed.Run(ctx, o)
	fmt.Fprint(os.Stderr, "\r\x1b[K")
	if err != nil {
		return err
	}
	if err := result.WriteTable(os.Stdout); err != nil {
		return err
	}
	if *out == "" {
		return nil
	}
	return result.WriteFiles(*out)
}

// goals are what ours is to show beside the peers.
func goals() []speed.Goal {
	return []speed.Goal{
		{Name: "token, sealed and opened: against securecookie at its fastest", Case: speed.SealOpen, Than: "Peer/token=securecookie", By: speed.CPU, AtLeast: 12},
		{Name: "… against securecookie as it comes", Case: speed.SealOpen, Than: "Peer/token=securecookie-default", By: speed.CPU},
		{Name: "… against securecookie without encryption", Case: speed.SealOpen, Than: "Peer/token=securecookie-readable", By: speed.CPU},
		{Name: "… against go-jose JWE", Case: speed.SealOpen, Than: "Peer/token=jwe", By: speed.CPU, AtLeast: 40},
		{Name: "… against PASETO v4.local", Case: speed.SealOpen, Than: "Peer/token=paseto", By: speed.CPU},
		{Name: "rotation in memory, 32 callers: against scs", Case: speed.InMemory, Than: "Peer/store=scs/callers=32", By: speed.CPU, AtLeast: 80},
		{Name: "durable rotation, 32 callers: against PostgreSQL", Case: speed.InFile, Than: postgresName, By: speed.Wall},
		{Name: "durable rotation, 32 callers: against Redis, appendfsync always", Case: speed.InFile, Than: redisDurableName, By: speed.Wall},
		{Name: "rotation in memory, 32 callers: against Redis", Case: speed.InMemory, Than: redisName, By: speed.Wall},
		{Name: "load, a rotating token, fast engine: CPU of wrk for each of ours", Case: fastName, Than: wrkName, By: speed.CPU, AtLeast: 1},
		{Name: "load, a rotating token, vegeta engine: CPU of wrk for each of ours", Case: vegetaName, Than: wrkName, By: speed.CPU},
		{Name: "load over a hop, fast engine: CPU of k6 for each of ours", Case: fastHopName, Than: k6HopName, By: speed.CPU, AtLeast: 10},
		{Name: "load over a hop, vegeta engine: CPU of k6 for each of ours", Case: vegetaHopName, Than: k6HopName, By: speed.CPU, AtLeast: 3},
	}
}
