module runner.test/guests/go

go 1.24
