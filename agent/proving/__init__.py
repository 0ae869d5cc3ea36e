"""What every policy could reach, whatever events come: found before it is live."""
