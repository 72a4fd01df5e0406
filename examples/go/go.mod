module example.com/leaderd-worker

go 1.19
