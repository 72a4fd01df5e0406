// Works only while this instance leads: go run . [ELECTION]
package main

import (
	"context"
	"fmt"
	"os"
	"time"
)

func main() {
	election := "daily-report"
	if len(os.Args) > 1 {
		election = os.Args[1]
	}
	term, err := NewLeaderd(election).Ask(context.Background(), time.Second)
	if err != nil {
		// Whoever cannot ask does not lead.
		fmt.Println("skipped:", err)
		return
	}
	ctx, done := term.Context(context.Background())
	defer done()
	if err := work(ctx, term); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// work stops when ctx does, and sends the token along with everything it changes.
func work(ctx context.Context, term Term) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	fmt.Println("working, X-Fencing-Token:", term.Token)
	return nil
}
