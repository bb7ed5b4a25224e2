"""Mutations: single changed lines of product code, each of which some test has to notice."""
