package model_test

import (
	"fmt"
	"time"

	"github.com/farmspec/farmspec/reference/model"
)

// Two servers accept one token at the same time, each with a successor of its own.
func ExampleCheck() {
	at := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
	history := []model.Op{
		{Kind: model.Login, Session: "ada's", Issued: "#1", Call: at(0), Return: at(2), Outcome: model.Accepted},
		{Kind: model.Present, Member: "server-1", Presented: "#1", Issued: "#2", Call: at(5), Return: at(9), Outcome: model.Accepted},
		{Kind: model.Present, Member: "server-2", Presented: "#1", Issued: "#3", Call: at(5), Return: at(8), Outcome: model.Accepted},
	}
	for _, v := range model.Check(history, model.Rules{}) {
		fmt.Println(v.Invariant, v.Ops, v.Text)
	}
	// Output:
	// I1 [1 2] token #1 was accepted 2 times (server-1 at 5ms, server-2 at 5ms)
	// I2 [1 2] token #1 has 2 different successors (server-1 at 5ms, server-2 at 5ms)
}
